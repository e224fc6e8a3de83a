"""Predictions and anomalies on the socket: the last known ones first, then every one, and none lost in between."""

import asyncio
import threading
from typing import Any

import msgspec
import redis

from conf.settings import Settings
from stores.redis import RedisStore
from stores.redis_predictions import PredictionBoard, Said
from tests.api_process import api_process
from tests.batches import make_bars
from tests.ws_bars import at, final
from tests.ws_client import SocketClient, run, socket_server

HORIZON = {"horizon": 1, "outcome_us": at(2), "expected_return": 1e-4, "rise_probability": 0.51, "volatility": 1e-3,
           "abstains": ["rise"]}  # fmt: skip


def said(minute: int, **changes: Any) -> Said:
    fields: dict[str, Any] = {
        "symbol": "AAPL",
        "interval": "1m",
        "start": at(minute),
        "end": at(minute + 1),
        "event_us": at(minute + 1),
        "close": 1.5,
        "model": "m",
        "horizons": [HORIZON],
    }
    return Said(**fields | changes)


def finding(minute: int, **changes: Any) -> dict[str, Any]:
    fields = {"symbol": "AAPL", "interval": "1m", "start": at(minute), "end": at(minute + 1), "rev": 1,
              "event_us": at(minute + 1), "rule": "move", "severity": "warning", "state": "firing", "value": 5.4,
              "threshold": 5.0, "score": 1.08, "text": "AAPL 1m closed 5.4 % lower", "since": at(minute)}  # fmt: skip
    return fields | changes


def board_of(settings: Settings) -> PredictionBoard:
    return PredictionBoard(settings.redis_url.get_secret_value(), 300)


def publish(settings: Settings, prefix: str, seq: int, event: dict[str, Any], keep: bool = True) -> None:
    """As a publisher does: the key first, then the message."""
    text = msgspec.json.encode(event)
    with redis.Redis.from_url(settings.redis_url.get_secret_value()) as client:
        if keep:
            client.set(f"{prefix}:{event['symbol']}:{event['interval']}", text)
        client.publish(f"{prefix}:{event['symbol']}", b'{"stream_seq":%d,"relayed_us":5,%b' % (seq, text[1:]))


def test_what_the_predictor_says_is_on_the_socket_of_an_api_process(
    socket_settings: Settings, live: RedisStore, tmp_path: Any
) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client, SocketClient(url) as late:
            snapshot = await client.subscribe("AAPL", channel="predictions")
            assert [(each["interval"], each["start"]) for each in snapshot["data"]] == [("1m", at(0)), ("15m", at(0))]
            assert (snapshot["mode"], "interval" in snapshot) == ("fresh", False)
            await client.subscribe("AAPL", channel="bars")
            await asyncio.to_thread(board.write, [said(1), said(1, symbol="MSFT"), said(2)])
            await client.until(lambda: len(client.of("update")) == 2)
            first, second = client.of("update")
            assert first["data"] == msgspec.to_builtins(said(1)) and second["data"]["start"] == at(2)
            assert first["prev_seq"] == snapshot["seq"] and client.gaps == []
            stamps = first["stamps"]
            assert (stamps["event_us"], stamps["received_us"], stamps["processed_us"]) == (at(2), None, None)
            assert stamps["relayed_us"] <= stamps["sent_us"]
            empty = await late.subscribe("AAPL", channel="predictions", snapshot=0)
            assert empty["data"] == [] and empty["seq"] == second["seq"]
            again = await late.subscribe("AAPL", channel="predictions", resume={"AAPL": first["seq"]})
            assert again["mode"] == "resume" and [each["start"] for each in again["data"]] == [at(2)]
            fresh = await late.subscribe("AAPL", channel="predictions")
            assert [(each["interval"], each["start"]) for each in fresh["data"]] == [("1m", at(2)), ("15m", at(0))]
            ended = await late.ask({"type": "unsubscribe", "channel": "predictions", "symbols": ["AAPL"]})
            assert ended["action"] == "unsubscribe" and "interval" not in ended

    live.write_bars(make_bars(final(0), final(0, symbol="MSFT")))
    board = board_of(socket_settings)
    board.write([said(0), said(0, interval="15m", horizons=[HORIZON | {"abstains": []}])])
    with api_process(socket_settings, tmp_path / "api.log") as api:
        run(follow(f"ws://127.0.0.1:{api.port}/ws"))
    board.close()


def test_last_prediction_lives_until_the_next_one_is_due(socket_settings: Settings) -> None:
    board = board_of(socket_settings)
    board.write([said(0), said(0, interval="15m")])
    board.close()
    with redis.Redis.from_url(socket_settings.redis_url.get_secret_value()) as client:
        assert 290 < client.ttl("prediction:AAPL:1m") <= 300  # type: ignore[operator]
        assert 1790 < client.ttl("prediction:AAPL:15m") <= 1800  # type: ignore[operator]


def test_findings_have_a_channel_of_their_own(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            snapshot = await client.subscribe("AAPL", channel="anomalies")
            assert snapshot["data"] == [finding(0)]
            await client.subscribe("AAPL", channel="predictions")
            await asyncio.to_thread(publish, socket_settings, "anomaly", 8, finding(1, state="resolved", value=None))
            update = await client.find(lambda each: each["type"] == "update")
            assert update["data"] == finding(1, state="resolved", value=None) and update["channel"] == "anomalies"
            wrong = await client.ask({"type": "subscribe", "channel": "omens", "symbols": ["AAPL"]})
            assert wrong["code"] == "unknown_channel" and "anomalies" in wrong["known"]

    live.write_bars(make_bars(final(0)))
    publish(socket_settings, "anomaly", 7, finding(0))
    with redis.Redis.from_url(socket_settings.redis_url.get_secret_value()) as client:
        client.set("anomaly:AAPL:5m", b"not JSON")  # of which nobody is told
    with socket_server(socket_settings) as url:
        run(follow(url))


def test_nothing_is_lost_between_the_snapshot_and_the_updates(socket_settings: Settings, live: RedisStore) -> None:
    """Clients that come while predictions are being published: each one's starts go on without a hole."""
    stopping = threading.Event()

    def write() -> None:
        minute = 1
        while not stopping.is_set() and minute < 5000:
            board.write([said(minute)])
            minute += 1

    async def follow(url: str) -> None:
        for _ in range(25):
            async with SocketClient(url) as client:
                snapshot = await client.subscribe("AAPL", channel="predictions")
                await client.until(lambda c=client: len(c.of("update")) > 5)
                shown = [each["start"] for each in snapshot["data"]]
                starts = [*shown, *(each["data"]["start"] for each in client.of("update"))]
                distinct = sorted(set(starts))
                assert shown and starts == sorted(starts) and client.gaps == []
                assert distinct == list(range(distinct[0], distinct[-1] + 1, 60_000_000))

    live.write_bars(make_bars(final(0)))
    board = board_of(socket_settings)
    board.write([said(0)])
    writer = threading.Thread(target=write)
    with socket_server(socket_settings) as url:
        writer.start()
        try:
            run(follow(url))
        finally:
            stopping.set()
            writer.join()
    board.close()


def test_number_that_was_skipped_is_told_with_what_redis_still_has(socket_settings: Settings, live: RedisStore) -> None:
    async def follow(url: str) -> None:
        async with SocketClient(url) as client:
            await client.subscribe("AAPL", channel="anomalies")
            publish(socket_settings, "anomaly", 11, finding(1))
            await client.until(lambda: len(client.of("update")) == 1)
            # 12 of another interval and 13 are lost on the way; Redis has kept the first of them.
            with redis.Redis.from_url(socket_settings.redis_url.get_secret_value()) as lost:
                lost.set("anomaly:AAPL:5m", msgspec.json.encode(finding(0, interval="5m", end=at(5), event_us=at(5))))
            publish(socket_settings, "anomaly", 14, finding(2))
            resync = await client.find(lambda each: each["type"] == "snapshot" and each["mode"] == "resync")
            assert [(each["interval"], each["start"]) for each in resync["data"]] == [("5m", at(0))]
            assert [each["data"]["start"] for each in client.of("update")] == [at(1), at(2)] and client.gaps == []

    live.write_bars(make_bars(final(0)))
    with socket_server(socket_settings) as url:
        run(follow(url))
