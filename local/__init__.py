"""The embedded stack of one machine: jars, Kafka, PostgreSQL and Redis from packages, and the processes on top.

`python -m local up` starts everything, `doctor` says what is missing, `down` stops what `up` started here.
"""
