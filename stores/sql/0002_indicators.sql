-- Indicators of the bars, a row per bar, and the state that each symbol and interval is continued from.
-- stores/hypertables.py turns indicators into a hypertable where the extension is there.

CREATE TABLE indicators (
    symbol       text        NOT NULL,
    "interval"   text        NOT NULL,
    "start"      timestamptz NOT NULL,
    rev          int         NOT NULL,
    specs        text        NOT NULL,
    "values"     jsonb       NOT NULL,
    ready        boolean     NOT NULL,
    stable       boolean     NOT NULL,
    processed_us bigint,
    CONSTRAINT indicators_key PRIMARY KEY (symbol, "interval", "start")
);

-- One row per symbol and interval, replaced by every final bar.
CREATE TABLE indicator_states (
    symbol     text        NOT NULL,
    "interval" text        NOT NULL,
    "start"    timestamptz NOT NULL,
    rev        int         NOT NULL,
    specs      text        NOT NULL,
    state      bytea       NOT NULL,
    CONSTRAINT indicator_states_key PRIMARY KEY (symbol, "interval")
) WITH (fillfactor = 50);
