"""docs/asyncapi.yaml: its own examples are valid, it lists what the code knows, and it refuses what is wrong."""

import re
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import yaml

from api.ws import client, requests
from api.ws.items import ANOMALIES, BARS, INDICATORS, PREDICTIONS, TICKS
from core.intervals import INTERVALS
from tests.ws_client import ASYNCAPI, validators

DOCUMENT: dict[str, Any] = yaml.safe_load(ASYNCAPI.read_text())
SCHEMAS = DOCUMENT["components"]["schemas"]
MESSAGES = DOCUMENT["components"]["messages"]
VALIDATORS = validators()
API = Path(__file__).parents[3] / "api"


def resolve(reference: str) -> Any:
    found: Any = DOCUMENT
    for part in reference.removeprefix("#/").split("/"):
        found = found[part]
    return found


def references(node: Any) -> list[str]:
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in references(value)]
    return [found for value in node for found in references(value)] if isinstance(node, list) else []


def test_every_reference_leads_somewhere() -> None:
    assert all(resolve(reference) is not None for reference in references(DOCUMENT))
    assert set(resolve("#/channels/socket/messages")) == set(resolve("#/channels/stock/messages")) == set(MESSAGES)


@pytest.mark.parametrize("name", MESSAGES)
def test_examples_are_valid_and_nothing_at_all_is_not(name: str) -> None:
    examples = [example["payload"] for example in MESSAGES[name]["examples"]]
    assert examples
    for example in examples:
        VALIDATORS[name].validate(example)
        with pytest.raises(jsonschema_rs.ValidationError):
            VALIDATORS[name].validate(example | {"type": "other"})


def test_document_lists_what_the_code_knows() -> None:
    channels = [BARS, INDICATORS, TICKS, PREDICTIONS, ANOMALIES]
    assert SCHEMAS["channel"]["enum"] == channels == list(requests.CHANNELS)
    page = (ASYNCAPI.parent / "websocket.md").read_text()
    assert all(f"| `{channel}` |" in page for channel in channels)
    assert SCHEMAS["interval"]["enum"] == list(INTERVALS)
    assert SCHEMAS["subscribe"]["properties"]["snapshot"]["maximum"] == requests.MAX_SNAPSHOT
    assert set(SCHEMAS["subscribe"]["properties"]) == requests._FIELDS["subscribe"]
    spoken = {message["$ref"].rsplit("/", 1)[1] for message in DOCUMENT["operations"]["speak"]["messages"]}
    assert spoken == set(requests.TYPES)


def test_every_code_of_an_error_is_listed() -> None:
    text = "".join(path.read_text() for path in (API / "ws").glob("*.py"))
    raised = set(re.findall(r'Refusal\(\s*"(\w+)"', text)) | set(re.findall(r'"code": "(\w+)"', text))
    assert len(raised) > 10 and raised <= set(SCHEMAS["error"]["properties"]["code"]["enum"])


def test_page_names_every_close_code() -> None:
    page = (ASYNCAPI.parent / "websocket.md").read_text()
    assert all(f"| {code} |" in page for code in (client.SLOW, client.GOING_AWAY, client.POLICY))
