"""What is read of a body that is too large."""

import asyncio
from typing import Any

import pytest

from api.security.shape import DISCARDED_BYTES, Body
from conf.settings import Settings

CHUNK = 32_768


async def _never(*_: Any) -> None:
    raise AssertionError("a refused request went on")


@pytest.mark.parametrize(
    ("length", "read"), [(3 * CHUNK, 3 * CHUNK), (DISCARDED_BYTES, DISCARDED_BYTES), (DISCARDED_BYTES + CHUNK, 0)]
)
def test_body_too_large_is_read_to_its_end_before_the_answer_unless_it_is_huge(length: int, read: int) -> None:
    left, sent = length, []

    async def receive() -> dict[str, Any]:
        nonlocal left
        left -= CHUNK
        return {"type": "http.request", "body": b"x" * CHUNK, "more_body": left > 0}

    async def send(message: Any) -> None:
        sent.append((message.get("status"), length - left))

    headers = [(b"content-length", str(length).encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers, "app": None}
    asyncio.run(Body(_never, Settings(api_max_body_bytes=2 * CHUNK))(scope, receive, send))
    assert sent[0] == (413, read)


def test_body_too_large_that_does_not_come_is_not_waited_for() -> None:
    sent = []

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message.get("status"))

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "app": None,
             "headers": [(b"content-length", b"100000")]}  # fmt: skip
    asyncio.run(Body(_never, Settings(api_max_body_bytes=CHUNK, api_read_seconds=0.1))(scope, receive, send))
    assert sent[0] == 413
