-- What the rules found: a row for each bar with which a rule begins to fire, grows more severe or is over.
-- stores/hypertables.py turns anomalies into a hypertable where the extension is there.

CREATE TABLE anomalies (
    symbol     text             NOT NULL,
    "interval" text             NOT NULL,
    "start"    timestamptz      NOT NULL,
    "end"      timestamptz      NOT NULL,
    rule       text             NOT NULL,
    rev        integer          NOT NULL,
    severity   text             NOT NULL,
    state      text             NOT NULL,
    value      double precision NOT NULL,
    threshold  double precision NOT NULL,
    score      double precision NOT NULL,
    since      timestamptz      NOT NULL,
    "text"     text             NOT NULL,
    written_at timestamptz      NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT anomalies_key PRIMARY KEY (symbol, "interval", "start", rule)
);
-- Newest first over all symbols.
CREATE INDEX anomalies_by_start ON anomalies ("start", symbol, "interval", rule);
