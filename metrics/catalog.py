"""Every metric of every process, as the code declares it."""

from prometheus_client import REGISTRY

from metrics import feeds, findings, kafka, machine, quality, queries, relays, serving, stages, stores

SUBJECTS = (feeds, kafka, stages, queries, relays, stores, quality, findings, serving, machine)
OURS = "tickstream_"


def declared() -> dict[str, tuple[str, str]]:
    """Name, as rules and boards write it, to type and help; of histograms the name without its suffix.

    The library's own, `process_…` and `python_…`, and those of the JVM are left out.
    """
    found = {}
    for family in REGISTRY.collect():
        if family.name.startswith(OURS) and not family.name.startswith("tickstream_jvm_"):
            suffix = "_total" if family.type == "counter" else ""
            found[family.name + suffix] = (family.type, family.documentation)
    return dict(sorted(found.items()))
