"""The process list: commands that their own programs understand."""

from pathlib import Path

import pytest

from local.jars import ROOT
from local.programs import Feed, programs
from producers.__main__ import _parser


def test_feed_is_last_so_that_it_is_stopped_first() -> None:
    assert [program.name for program in programs(Feed(), "all")] == ["live", "stores", "relay", "api", "feed"]


def test_replay_runs_once_and_all_others_for_ever(tmp_path: Path) -> None:
    feed = Feed("replay", (tmp_path,), "max")
    assert {program.name for program in programs(feed, "us-equity") if program.once} == {"feed"}
    assert not any(program.once for program in programs(Feed(), "all"))


def test_replay_passes_its_options_on_with_absolute_paths(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT / "core")
    feed = programs(Feed("replay", (Path("rulesets"),), "max"), "us-equity")[-1]
    assert feed.command[-6:] == (
        *("replay", str(ROOT / "core" / "rulesets")),
        *("--speed", "max", "--ruleset", "us-equity"),
    )


@pytest.mark.parametrize("feed", [Feed(), Feed("replay", (ROOT / "core",), "60")], ids=lambda feed: feed.name)
def test_feed_command_is_accepted_by_the_producers(feed: Feed) -> None:
    command = programs(feed, "us-equity")[-1].command
    assert command[2:4] == ("-m", "producers")
    assert _parser().parse_args(command[4:]).command == command[4]
