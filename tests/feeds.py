"""Recorded provider messages for tests, and settings with made-up keys."""

import gzip
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from pydantic import SecretStr

from conf.settings import KEYS, Settings
from producers.feeds import Feed, Parsed

MESSAGES = Path(__file__).parents[2] / "shared" / "data" / "messages"
needs_messages = pytest.mark.skipif(not MESSAGES.exists(), reason="the recorded messages are not beside this checkout")
RECEIVED_US = 1_700_000_000_000_000
LOGGED_IN = (
    b'[{"ev":"status","status":"auth_success","message":"authenticated"}]',
    b'[{"T":"success","msg":"authenticated"}]',
)


def settings_with_keys(**changes: Any) -> Settings:
    """Defaults with a credential for every provider."""
    return Settings(**{name: SecretStr(f"{name}-in-tests") for name in KEYS} | changes)


def files_of(feed: type[Feed], transport: str = "") -> list[Path]:
    """The files of recorded messages of a provider, under all its names; transport is ws or rest."""
    folders = [MESSAGES / name for name in (feed.name, *feed.also)]
    return sorted(path for folder in folders for path in folder.glob(f"{transport}*.jsonl*"))


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The records of a file: provider, transport, channel, authentic, recv_time, message as bytes."""
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        for line in file:
            record = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            fields = {name: msgspec.json.decode(value) for name, value in record.items() if name != "message"}
            yield fields | {"message": bytes(record["message"])}


def parse_file(feed: Feed, name: str) -> list[Parsed]:
    """What one recorded file, such as `coinbase_pro/ws_match.jsonl`, says, message by message."""
    return [feed.parse(record["message"], RECEIVED_US) for record in records(MESSAGES / name)]


def said_to(feed: Feed, symbols: Sequence[str]) -> list[str]:
    """What a connection sends until it is subscribed, for providers whose login is answered first too."""
    return feed.hello(symbols) + [text for answer in LOGGED_IN for text in feed.parse(answer, RECEIVED_US).replies]


def encoded(message: object) -> bytes:
    return msgspec.json.encode(message)
