"""How long the API waits for its stores."""

from dataclasses import fields

from api.app import create_app
from conf.settings import Settings
from stores.pooled import Pooled


def test_every_reader_of_the_database_waits_by_the_setting() -> None:
    assert waits(6) == {name: 3 * seconds for name, seconds in waits(2).items()}
    assert {"history", "predictions", "days", "anomalies", "alerts", "polling"} <= waits(2).keys()


def waits(seconds: float) -> dict[str, float]:
    """The patience of each reader, where a request's is so many seconds."""
    services = create_app(Settings(api_store_seconds=seconds)).state.services
    readers = {field.name: getattr(services, field.name) for field in fields(services)}
    return {name: reader._timeout for name, reader in readers.items() if isinstance(reader, Pooled)}
