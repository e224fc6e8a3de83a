"""One file per store, each owning its schema, its writes and its reads.

Batches travel as Arrow tables of `stores.schema`. A write is idempotent: the same batch twice leaves the same rows,
and an older revision never replaces a newer one. A store that does not answer raises `StoreUnavailable`.
"""
