"""Fuzzing of the whole published contract on real stores: no 5xx, nothing that the contract does not say.

Requests are generated from the OpenAPI document, valid and invalid ones, from a fixed seed; each answer is held against
its status codes, content types and schemas. WebSockets are not part of OpenAPI.
"""

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from hypothesis import strategies as st
from pydantic import SecretStr
from schemathesis.checks import not_a_server_error
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api import contract
from conf.settings import Settings
from core.clock import ManualClock
from local.kafka import Kafka
from local.postgres import Postgres
from local.redis import Redis
from stores.redis import RedisStore
from stores.schema import bars_table
from stores.timescale import TimescaleStore
from tests.databases import fresh_database
from tests.integration.alert_data import store_alert
from tests.integration.api_data import BASE, MINUTE, make_bar, ticks_table
from tests.serving import serving

KNOWN_IDS = {"rule_id": "0b8d7d5e-9a52-4d0e-a2f9-3ff6c1f2a7f1", "alert_id": "1b8d7d5e-9a52-4d0e-a2f9-3ff6c1f2a7f1"}
EXAMPLES = 14
OF_ALIASES = 5  # another name of the same handler
SYMBOL = "BTC-USD"  # the one that the contract's examples name
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
SCHEMA = schemathesis.openapi.from_dict(contract.document())
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations()}


@pytest.fixture(scope="module")
def base_url(
    kafka_server: Kafka, postgres_server: Postgres, redis_server: Redis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """An API over stores that hold two symbols, one of which the examples name."""
    redis_url = redis_server.url
    with fresh_database(postgres_server) as dsn:
        _fill(dsn, redis_url)
        settings = Settings(
            postgres_dsn=SecretStr(dsn),
            redis_url=SecretStr(redis_url),
            kafka_bootstrap=kafka_server.url,
            topic_prefix="contract.",
            data_path=tmp_path_factory.mktemp("contract"),
        )
        with serving(settings, ManualClock(BASE + 10 * MINUTE)) as client:
            yield str(client.base_url)


def _fill(dsn: str, redis_url: str) -> None:
    database, live = TimescaleStore(dsn), RedisStore(redis_url, 300)
    database.setup()
    for symbol in (SYMBOL, "A/B"):
        database.write_bars(bars_table([make_bar(minute, symbol=symbol) for minute in range(5)]))
        database.write_bars(bars_table([make_bar(0, symbol=symbol, interval="5m", end=BASE + 5 * MINUTE)]))
        live.write_bars(bars_table([make_bar(5, symbol=symbol, rev=0, state="forming")]))
        database.write_ticks(ticks_table(symbol, [(BASE + second * 1_000_000, 0, "10", "1") for second in range(4)]))
    database.close()
    live.close()
    store_alert(dsn, **KNOWN_IDS)


# The server runs in this process, and its pauses are random: hypothesis takes that for a strategy's doing.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module:hypothesis.errors.HypothesisDeprecationWarning")
@pytest.mark.parametrize("label", OPERATIONS)
def test_contract_holds_for_generated_requests(label: str, base_url: str) -> None:
    operation = OPERATIONS[label]
    statuses: set[int] = set()

    @hypothesis.seed(20130603)
    @hypothesis.settings(
        max_examples=OF_ALIASES if operation.tags == ["aliases"] else EXAMPLES,
        deadline=None,
        database=None,
        derandomize=False,
        phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(case=operation.as_strategy(), known=st.booleans())
    def fuzz(case: Any, known: bool) -> None:
        for place in (case.path_parameters, case.query):
            if known and "symbol" in (place or {}):
                place["symbol"] = SYMBOL
        if known and "start" in (case.path_parameters or {}):
            case.path_parameters |= {"start": str(BASE // 1000), "interval": "1m"}
        for name in KNOWN_IDS.keys() & (case.path_parameters or {}).keys() if known else ():
            case.path_parameters[name] = KNOWN_IDS[name]
            case.headers["If-Match"] = "*"
        if known and "type" in (case.query or {}):  # no text made at random is an indicator
            case.query = {name: value for name, value in case.query.items() if name != "period"} | {"type": "rsi:14"}
        statuses.add(case.call_and_validate(base_url=base_url, checks=CHECKS).status_code)

    fuzz()
    if operation.tags != ["aliases"] and "job_id" not in label:
        assert statuses & {200, 201, 202, 204}, f"no request got through: {statuses}"


def test_contract_refuses_what_it_does_not_allow(base_url: str) -> None:
    """Invalid requests of every operation get 4xx, with the same checks."""
    from schemathesis import GenerationMode

    statuses: dict[int, int] = {}
    for operation in OPERATIONS.values():

        @hypothesis.seed(20130603)
        @hypothesis.settings(
            max_examples=2,
            deadline=None,
            database=None,
            phases=[hypothesis.Phase.generate],
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def fuzz(case: Any) -> None:
            answer: Response = case.call_and_validate(base_url=base_url, checks=CHECKS)
            statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1

        try:
            fuzz()
        except hypothesis.errors.Unsatisfiable:
            continue  # nothing about it can be wrong
    assert statuses.get(422, 0) > 20, statuses
