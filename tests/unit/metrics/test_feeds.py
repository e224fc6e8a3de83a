"""What a live feed shows of its streams."""

from prometheus_client import REGISTRY

from conf.settings import Settings
from metrics.feeds import STATES
from producers.feeds import feed_named
from producers.live import MemoryGaps, Stream
from producers.live.stream import State
from producers.live_command import _show_metrics


def test_every_state_has_a_series_and_every_number_a_metric() -> None:
    assert {state.value for state in State} == set(STATES)
    stream = Stream(feed_named("kraken"), ["BTC-USD"], Settings(), deliver=lambda *_: None, gaps=MemoryGaps())
    stream.ticks, stream.state = 7, State.MUTE
    stream.troubles.note("odd", "an odd message")
    _show_metrics(stream, [stream])
    labels = {"provider": "kraken"}
    found = {
        name: REGISTRY.get_sample_value(f"tickstream_feed_{name}", labels)
        for name in ("ticks_total", "messages_refused_total", "gaps_open", "session_open", "connections_total")
    }
    assert found == {
        "ticks_total": 7, "messages_refused_total": 1, "gaps_open": 0, "session_open": 1, "connections_total": 0
    }  # fmt: skip
    states = {state: REGISTRY.get_sample_value("tickstream_feed_state", labels | {"state": state}) for state in STATES}
    assert states == {state: float(state == "mute") for state in STATES}
