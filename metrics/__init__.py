"""What every process tells of itself: the metrics by subject, and the port on which Prometheus reads them.

One file per subject declares its metrics; `metrics.serve` shows those of the process. Names follow the field's rules:
base units, `_total` for counters, and labels whose values are few and known. What happens for every tick costs nothing
here: numbers that an object keeps anyway are read when somebody asks (`Pulled`), and latencies are one append
(`Latencies`).
"""

from prometheus_client import disable_created_metrics

# Of each counter a second series with the time of its birth, which nobody here asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]
