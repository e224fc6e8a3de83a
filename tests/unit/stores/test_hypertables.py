"""The SQL for TimescaleDB, as text: what the Apache-licensed build lacks of it has not been run against the extension.

`tests/integration/test_timescaledb.py` runs the rest.
"""

from stores.hypertables import Retention, statements
from stores.migrations import migrations


def _retained(table: str, days: int) -> tuple[str, str]:
    """A policy that is right stays as it is: one that is made anew begins to delete at once."""
    return (
        f"SELECT remove_retention_policy('{table}', if_exists => true) WHERE NOT EXISTS"
        f" (SELECT FROM timescaledb_information.jobs WHERE hypertable_name = '{table}'"
        f" AND proc_name = 'policy_retention' AND (config ->> 'drop_after')::interval = INTERVAL '{days} days')",
        f"SELECT add_retention_policy('{table}', drop_after => INTERVAL '{days} days', if_not_exists => true)",
    )


def test_statements_with_the_community_licence() -> None:
    assert [sql for _, sql in statements(Retention(30, 365))] == [
        "SELECT create_hypertable('ticks', by_range('event_time', INTERVAL '1 day'),"
        " create_default_indexes => false, migrate_data => true, if_not_exists => true)",
        "SELECT create_hypertable('bars', by_range('start', INTERVAL '1 day'),"
        " create_default_indexes => false, migrate_data => true, if_not_exists => true)",
        "SELECT create_hypertable('indicators', by_range('start', INTERVAL '1 day'),"
        " create_default_indexes => false, migrate_data => true, if_not_exists => true)",
        "SELECT create_hypertable('bar_revisions', by_range('start', INTERVAL '1 day'),"
        " create_default_indexes => false, migrate_data => true, if_not_exists => true)",
        "SELECT create_hypertable('predictions', by_range('start', INTERVAL '1 day'),"
        " create_default_indexes => false, migrate_data => true, if_not_exists => true)",
        "SELECT create_hypertable('anomalies', by_range('start', INTERVAL '1 day'),"
        " create_default_indexes => false, migrate_data => true, if_not_exists => true)",
        "ALTER TABLE ticks SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol',"
        " timescaledb.compress_orderby = 'event_time DESC, identity')",
        "SELECT add_compression_policy('ticks', compress_after => INTERVAL '2 days', if_not_exists => true)",
        *_retained("ticks", 30),
        "ALTER TABLE bars SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol, \"interval\"',"
        " timescaledb.compress_orderby = '\"start\" DESC')",
        "SELECT add_compression_policy('bars', compress_after => INTERVAL '7 days', if_not_exists => true)",
        *_retained("bars", 365),
        "ALTER TABLE indicators SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol, \"interval\"',"
        " timescaledb.compress_orderby = '\"start\" DESC')",
        "SELECT add_compression_policy('indicators', compress_after => INTERVAL '7 days', if_not_exists => true)",
        *_retained("indicators", 365),
        "ALTER TABLE bar_revisions SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol, \"interval\"',"
        " timescaledb.compress_orderby = '\"start\" DESC, known_at')",
        "SELECT add_compression_policy('bar_revisions', compress_after => INTERVAL '7 days', if_not_exists => true)",
        *_retained("bar_revisions", 365),
        "ALTER TABLE predictions SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol, \"interval\"',"
        " timescaledb.compress_orderby = '\"start\" DESC, horizon, model')",
        "SELECT add_compression_policy('predictions', compress_after => INTERVAL '7 days', if_not_exists => true)",
        *_retained("predictions", 365),
        "ALTER TABLE anomalies SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol, \"interval\"',"
        " timescaledb.compress_orderby = '\"start\" DESC, rule')",
        "SELECT add_compression_policy('anomalies', compress_after => INTERVAL '7 days', if_not_exists => true)",
        *_retained("anomalies", 365),
    ]


def test_apache_licence_makes_hypertables_only() -> None:
    made = statements(Retention(), community=False)
    assert len(made) == 6 and all(f"create_hypertable('{table}'" in sql for table, sql in made)


def test_nothing_is_compressed_after_it_is_dropped() -> None:
    assert "compress_after => INTERVAL '1 days'" in " ".join(sql for _, sql in statements(Retention(1, 1)))


def test_unique_constraints_hold_the_time_column() -> None:
    # what TimescaleDB demands of a hypertable
    first, second = (migration.sql for migration in migrations()[:2])
    assert "UNIQUE (symbol, event_time, identity)" in first
    for name, sql in (("bars", first), ("indicators", second)):
        assert f'CONSTRAINT {name}_key PRIMARY KEY (symbol, "interval", "start")' in sql
    revisions = next(migration.sql for migration in migrations() if migration.name == "0005_revisions")
    assert 'bar_revisions_key PRIMARY KEY (symbol, "interval", "start", known_at)' in revisions
    anomalies = next(migration.sql for migration in migrations() if migration.name == "0008_anomalies")
    assert 'anomalies_key PRIMARY KEY (symbol, "interval", "start", rule)' in anomalies
    predictions = next(migration.sql for migration in migrations() if migration.name == "0007_predictions")
    assert 'predictions_key PRIMARY KEY (symbol, "interval", "start", horizon, model)' in predictions
