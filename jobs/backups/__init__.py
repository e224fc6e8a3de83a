"""Backups: one folder each, complete or absent, and the way back into an empty stack.

backup-20261121T031500Z/
    manifest.json            what is in it, with a SHA-256 of every file; written last
    database/<table>.zst     rows as PostgreSQL's COPY writes them, all of one snapshot
    lake/…                   the Parquet files that manifests name, and the manifests
    models/…                 the predictor's models
    topics/ticks.zst         records of `ticks` that the tick log of the snapshot does not have yet
    topics/ticks.dead.zst    refused records, which are nowhere else
"""
