"""How fast, how much, how soon after a crash, what indicators cost, how much a feed takes in, how soon
the API answers, how soon a tick is on a screen, how good the rules on anomalies are, and how an hour of load goes:

`python -m benchmarks latency|throughput|recovery|indicators|feed|rest|sockets|pixels|anomalies|soak --json FILE`.

Each benchmark is one module with `HELP`, `EXAMPLES`, `add_arguments(parser)` and `run(options, bench) -> Result`,
named here. It starts servers of its own, unless it says `NEEDS_SERVERS = False`, and stops everything at the end;
README.md says how to read the results.
"""

BENCHMARKS: dict[str, str] = {
    "latency": "benchmarks.latency",
    "throughput": "benchmarks.throughput",
    "recovery": "benchmarks.recovery",
    "indicators": "benchmarks.indicators",
    "feed": "benchmarks.feed",
    "rest": "benchmarks.rest",
    "sockets": "benchmarks.sockets",
    "pixels": "benchmarks.pixels",
    "anomalies": "benchmarks.anomalies",
    "soak": "benchmarks.soak",
}
