"""Where ticks come from: each source makes `core.records.Tick` records and hands them to `producers.publish`.

A source is one module with `HELP`, `EXAMPLES`, `add_arguments(parser)` and `run(args, settings) -> None`, named here.
"""

# Command of `python -m producers` -> the module that answers it.
SOURCES: dict[str, str] = {
    "simulate": "producers.simulate",
    "replay": "producers.replay",
    "parse": "producers.parse",
    "poll": "producers.poll_command",
    "live": "producers.live_command",
    "backfill": "producers.history_command",
    "symbols": "producers.symbols_command",
}
