"""A stack of its own under seeded faults, and the question at the end: is every bar in every store what it must be?

`python -m chaos --help`; docs/operations.md tells what a run did and how to read it.
"""
