"""The browser's end of the push: `wire.js`, `live.js` and `paint.js`, with a clock and a socket of the test's."""

from typing import Any

import pytest

from tests.javascript import run_javascript

FILES = ("../../tests/unit/dashboard/page_stub.js", "paint.js", "wire.js", "live.js")


def run(code: str) -> Any:
    return run_javascript(FILES, code)


def test_subscription_waits_for_the_api_and_is_asked_once() -> None:
    before, after, again = run(
        """
        tickstream.subscribe({channel: "bars", symbols: ["A", "B", "A"], snapshot: 30}, listener());
        const before = socket().sent.length;
        socket().open(1);
        const after = socket().take();
        socket().say({type: "api", state: "down", session: 1});
        socket().say({type: "api", state: "up", session: 1});
        return [before, after, socket().take()];
        """
    )
    asked = {
        "type": "subscribe",
        "channel": "bars",
        "interval": "1m",
        "symbols": ["A", "B"],
        "id": "s1",
        "snapshot": 30,
    }
    assert (before, after) == (0, [asked])
    assert again == [], "the API's own side of the socket was never away"


@pytest.mark.parametrize("channel", ["predictions", "anomalies"])
def test_events_have_no_interval_whatever_they_are_about(channel: str) -> None:
    sent, heard, resumed = run(
        f"""
        const own = listener();
        const data = {{interval: "5m", start: 60, rev: 1, state: "firing"}};
        const event = {{channel: "{channel}", interval: undefined, data}};
        socket().open(1);
        tickstream.subscribe({{channel: "{channel}", symbols: ["A"], interval: "1m"}}, own);
        const sent = socket().take();
        socket().say(snapshot("A", 3, {{...event, data: [event.data], id: "s1"}}));
        socket().say({{...update("A", 3, 4), ...event}});
        socket().drop();
        clock.pass(1000);
        socket().open(2);
        return [sent, own.heard, socket().take()];
        """
    )
    assert "interval" not in sent[0]
    assert heard == [["snapshot", "A", "fresh", 3], ["update", "A", 4]]
    assert resumed[0]["resume"] == {"A": 4} and not {"interval", "since"} & resumed[0].keys()


def test_ticks_have_no_interval_and_many_symbols_go_in_parts() -> None:
    sent = run(
        """
        socket().open(1);
        tickstream.subscribe({channel: "ticks", symbols: Array.from({length: 250}, (_, n) => `S${n}`)}, listener());
        return socket().take();
        """
    )
    assert [len(message["symbols"]) for message in sent] == [100, 100, 50]
    assert not any("interval" in message for message in sent)
    assert len({symbol for message in sent for symbol in message["symbols"]}) == 250


def test_message_that_was_lost_is_noticed_and_fetched() -> None:
    sent, heard = run(
        """
        const own = listener();
        socket().open(1);
        tickstream.subscribe({channel: "bars", symbols: ["A"], snapshot: 2}, own);
        socket().take();
        const data = [{start: 60, rev: 1, state: "final"}, {start: 120, rev: 0, state: "forming"}];
        socket().say(snapshot("A", 10, {id: "s1", data}));
        socket().say(update("A", 10, 11));
        socket().say(update("A", 12, 13));     // 12 never came
        socket().say(update("A", 13, 14));     // not until it is known what was in 12
        const sent = socket().take();
        socket().say(snapshot("A", 14, {id: "r2", mode: "resume"}));
        socket().say(update("A", 14, 15));
        return [sent, own.heard];
        """
    )
    assert [(message["resume"], message["since"], message["id"]) for message in sent] == [({"A": 11}, {"A": 60}, "r2")]
    assert heard == [
        *(["snapshot", "A", "fresh", 10], ["update", "A", 11]),
        *(["snapshot", "A", "resume", 14], ["update", "A", 15]),
    ]


def test_forming_bar_is_no_place_to_resume_from() -> None:
    sent = run(
        """
        socket().open(1);
        tickstream.subscribe({channel: "bars", symbols: ["A"]}, listener());
        socket().say(snapshot("A", 10, {id: "s1", data: [{start: 120, rev: 0, state: "forming"}]}));
        socket().say(update("A", 10, 11, {start: 60, rev: 2, state: "amended"}));
        socket().say(update("A", 11, 12, {start: 120, rev: 0}));
        socket().take();
        socket().drop();
        clock.pass(1000);
        socket().open(1);
        return socket().take();
        """
    )
    assert [(message["resume"], message["since"]) for message in sent] == [({"A": 12}, {"A": 60})]


@pytest.mark.parametrize("lost", ["socket", "api"])
def test_everything_is_resumed_after_a_break(lost: str) -> None:
    sent, heard = run(
        f"""
        const own = listener();
        socket().open(1);
        tickstream.subscribe({{channel: "bars", symbols: ["A", "B"], snapshot: 5}}, own);
        ["A", "B"].forEach((symbol, n) => socket().say(snapshot(symbol, 10 + n, {{id: "s1"}})));
        tickstream.subscribe({{channel: "bars", symbols: ["C"], snapshot: 9}}, own);   // not answered yet
        socket().take();
        if ("{lost}" === "socket") {{ socket().drop(); clock.pass(1000); socket().open(1); }}
        else {{ socket().say({{type: "api", state: "down"}}); socket().say({{type: "api", state: "up", session: 2}}); }}
        const sent = socket().take();
        socket().say(update("A", 99, 100));      // of the old times
        socket().say(snapshot("A", 20, {{id: "r3", mode: "resume"}}));
        socket().say(snapshot("C", 30, {{id: "s2"}}));
        socket().say(update("A", 20, 21));
        return [sent, own.heard.slice(2)];
        """
    )
    resumed, fresh = sent
    assert resumed["resume"] == {"A": 10, "B": 11} and resumed["snapshot"] == 5
    assert (fresh["id"], fresh["symbols"], fresh["snapshot"]) == ("s2", ["C"], 9)
    assert "resume" not in fresh
    assert heard == [["snapshot", "A", "resume", 20], ["snapshot", "C", "fresh", 30], ["update", "A", 21]]


def test_one_that_does_not_exist_keeps_nobody_else_from_resuming() -> None:
    sent = run(
        """
        socket().open(1);
        tickstream.subscribe({channel: "bars", symbols: ["A", "B"]}, listener());
        ["A", "B"].forEach((symbol) => socket().say(snapshot(symbol, 10, {id: "s1"})));
        socket().say({type: "api", state: "up", session: 2});
        socket().take();
        socket().say({type: "error", id: "r2", code: "unknown_symbol"});
        return socket().take().map(({symbols}) => symbols);
        """
    )
    assert sent == [["A"], ["B"]]


def test_those_away_for_too_long_begin_anew() -> None:
    sent, heard = run(
        """
        const own = listener();
        const data = [{start: 60, rev: 1, state: "final"}];
        socket().open(1);
        tickstream.subscribe({channel: "bars", symbols: ["A", "B", "C"], snapshot: 30}, own);
        const gone = tickstream.subscribe({channel: "bars", symbols: ["D"]}, own);
        ["A", "B", "C", "D"].forEach((symbol) => socket().say(snapshot(symbol, 10, {id: "s1", data})));
        socket().say({type: "api", state: "up", session: 2});
        gone.close();
        socket().take();
        own.heard.splice(0);
        socket().say({type: "error", id: "r3", code: "since_too_old"});
        const sent = socket().take();
        ["A", "B", "C"].forEach((symbol) => socket().say(snapshot(symbol, 900, {id: "r4", data})));
        socket().say(update("A", 900, 901));
        return [sent, own.heard];
        """
    )
    assert [(message["symbols"], message.get("since"), message["snapshot"]) for message in sent] == [
        (["A", "B", "C"], None, 30)
    ]
    assert sent[0]["resume"] == {"A": 10, "B": 10, "C": 10}, "what the ring still has is not lost"
    assert heard == [*(["snapshot", symbol, "fresh", 900] for symbol in "ABC"), ["update", "A", 901]]


def test_error_that_will_pass_is_told_and_tried_again() -> None:
    soon, later, heard = run(
        """
        const own = listener();
        socket().open(1);
        tickstream.subscribe({channel: "bars", symbols: ["A"]}, own);
        socket().take();
        socket().say({type: "error", id: "s1", code: "store_unavailable", retry_after: 2});
        clock.pass(1900);
        const soon = socket().take().length;
        clock.pass(200);
        return [soon, socket().take(), own.heard];
        """
    )
    assert (soon, [message["id"] for message in later]) == (0, ["s1"])
    assert heard == [["error", "store_unavailable"]]


def test_streams_are_shared_and_end_with_the_last_party() -> None:
    first, second, third = run(
        """
        socket().open(1);
        const one = tickstream.subscribe({channel: "bars", symbols: ["A", "B"]}, listener());
        const other = tickstream.subscribe({channel: "bars", symbols: ["A"]}, listener());
        socket().take();
        one.close(); one.close();
        const first = socket().take();
        socket().say(snapshot("A", 10));
        other.close();
        const second = socket().take();
        socket().say(update("A", 10, 11));
        return [first, second, socket().take()];
        """
    )
    assert [(message["type"], message["symbols"]) for message in first] == [("unsubscribe", ["B"])]
    assert [(message["type"], message["symbols"]) for message in second] == [("unsubscribe", ["A"])]
    assert third == []


def test_snapshot_of_one_party_adds_to_what_the_other_has() -> None:
    one, other = run(
        """
        const one = listener(), other = listener();
        socket().open(1);
        tickstream.subscribe({channel: "bars", symbols: ["A"], snapshot: 100}, one);
        socket().say(snapshot("A", 10, {id: "s1"}));
        tickstream.subscribe({channel: "bars", symbols: ["A"], snapshot: 1}, other);
        socket().say(update("A", 10, 11));       // the newcomer has nothing yet that it could change
        socket().say(snapshot("A", 12, {id: "s2"}));
        socket().say(update("A", 12, 13));
        return [one.heard, other.heard];
        """
    )
    assert one == [
        *(["snapshot", "A", "fresh", 10], ["update", "A", 11], ["snapshot", "A", "resume", 12], ["update", "A", 13])
    ]
    assert other == [["snapshot", "A", "fresh", 12], ["update", "A", 13]]


def test_handler_that_fails_costs_the_others_nothing() -> None:
    heard, errors = run(
        """
        const own = listener();
        socket().open(1);
        tickstream.subscribe({channel: "bars", symbols: ["A"]}, {snapshot() { throw new Error("mine"); }});
        tickstream.subscribe({channel: "bars", symbols: ["A"]}, own);
        socket().say(snapshot("A", 10, {id: "s1"}));
        socket().say(snapshot("A", 10, {id: "s2"}));
        return [own.heard, globalThis.errors.length];
        """
    )
    assert heard == [["snapshot", "A", "fresh", 10]]
    assert errors == 2


def test_mute_socket_is_given_up_after_five_seconds() -> None:
    quiet, given_up, urls = run(
        """
        socket().open(1);
        clock.pass(4000);
        socket().say({type: "heartbeat"});
        clock.pass(4900);
        const quiet = sockets.length;
        clock.pass(1500);
        return [quiet, sockets[0].gone && sockets.length, sockets.map(({url}) => url)];
        """
    )
    assert (quiet, given_up) == (1, 2)
    assert set(urls) == {"ws://localhost:8050/live"}


def test_server_away_is_said_once_it_lasts_and_pages_fill_themselves_again() -> None:
    blink, down, up, props = run(
        """
        socket().open(1);
        const first = events.splice(0);
        socket().drop();
        clock.pass(1000);
        socket().open(1);
        const blink = [...first, ...events.splice(0)].map(([, detail]) => detail.state);
        const quiet = props.length;
        socket().drop();
        for (let n = 0; n < 8; n += 1) { clock.pass(1000); socket().drop(); }
        const down = events.splice(0).map(([, detail]) => detail.state);
        while (socket().readyState !== 0) { clock.pass(50); }
        socket().open(1);
        return [[blink, quiet], down, events.splice(0).map(([, detail]) => detail.state), props];
        """
    )
    assert blink == [["up", "up"], 0], "a page that has just been filled is not filled again"
    assert down == ["down"]
    assert up == ["up"]
    assert props == [["api-state", {"data": {"state": "up", "recoveries": 1}}]]


def test_connecting_again_takes_longer_and_longer_with_a_bound() -> None:
    waits = run(
        """
        const waits = [];
        for (let n = 0; n < 9; n += 1) {
          const from = clock.now, count = sockets.length;
          socket().drop();
          while (sockets.length === count) { clock.pass(50); }
          waits.push(clock.now - from);
        }
        return waits;
        """
    )
    assert waits[:3] == [250, 500, 1000]
    assert waits == sorted(waits) and waits[-1] == 5000


def test_follow_is_asked_once_and_shared() -> None:
    sent, heard, end = run(
        """
        const heard = [];
        const one = tickstream.follow("quality", {symbol: "A", day: "1"}, (data) => heard.push(["one", data]));
        socket().open(1);
        const sent = socket().take();
        socket().say({type: "page", what: "quality", params: {day: "1", symbol: "A"}, data: 7});
        socket().say({type: "page", what: "quality", params: {}, data: 8});
        const other = tickstream.follow("quality", {day: "1", symbol: "A"}, (data) => heard.push(["other", data]));
        one.close();
        const before = socket().take();
        other.close();
        return [sent, heard, [before, socket().take()]];
        """
    )
    params = {"symbol": "A", "day": "1"}
    assert sent == [{"type": "follow", "what": "quality", "params": params}]
    assert heard == [["one", 7], ["other", 7]]
    assert end == [[], [{"type": "unfollow", "what": "quality", "params": params}]]


def test_latency_is_taken_when_the_frame_has_been_drawn() -> None:
    early, found, samples = run(
        """
        const stamped = (received) => ({symbol: "A", browser_us: 1.8e15 + 40, stamps: {
          event_us: received - 5000, received_us: received, processed_us: received + 1000, relayed_us: received + 3000,
          sent_us: received + 3500}});
        clock.pass(100);
        for (let n = 0; n < 5; n += 1) { tickstream.painted(stamped(1.8e15 + 1000 * n)); }
        const early = tickstream.latency().count;
        clock.pass(8);
        drawFrame();
        return [early, tickstream.latency(), tickstream.samples()];
        """
    )
    assert early == 0
    assert (found["count"], found["p50"], found["p95"]) == (5, 108.0, pytest.approx(109.8))
    assert found["stages"]["processed"]["p50"] == 1
    assert found["stages"]["relayed"]["p50"] == 2
    assert found["stages"]["sent"]["p50"] == 0.5
    assert found["stages"]["received"]["p50"] == 5
    assert found["stages"]["tick_to_paint"]["p50"] == 113
    assert {sample["painted"] for sample in samples} == {1.8e15 + 110_000}


def test_latency_forgets_and_needs_no_frames_of_a_hidden_page() -> None:
    kept, later, hidden, empty = run(
        """
        const message = {symbol: "A", browser_us: 1.8e15, stamps: {event_us: 1.8e15, received_us: 1.8e15}};
        tickstream.painted(message);
        drawFrame();
        const kept = tickstream.latency();
        clock.pass(61000);
        const later = tickstream.latency().count;
        document.hidden = true;
        tickstream.painted(message);
        return [kept, later, frames.length, tickstream.latency().p50];
        """
    )
    assert kept["count"] == 1
    assert kept["stages"]["processed"] == {"count": 0, "p50": None, "p95": None, "p99": None}, "a stamp is missing"
    assert (later, hidden, empty) == (0, 0, None)
