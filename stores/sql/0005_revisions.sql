-- Bars that may be amended: older revisions, what is to be checked against the tick log, and what came of it.
-- stores/hypertables.py turns bar_revisions into a hypertable where the extension is there.

ALTER TABLE bars ADD COLUMN known_at timestamptz NOT NULL DEFAULT now();
-- Bars written before this migration were known when they were made.
UPDATE bars SET known_at = timestamptz 'epoch' + processed_us * interval '1 microsecond' WHERE processed_us IS NOT NULL;

-- The same columns in the same order as bars, so that a row of one is a row of the other.
CREATE TABLE bar_revisions (
    LIKE bars INCLUDING DEFAULTS,
    CONSTRAINT bar_revisions_key PRIMARY KEY (symbol, "interval", "start", known_at)
);

CREATE FUNCTION keep_bar_revision() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO bar_revisions SELECT OLD.*;
    -- Of two revisions the newer one is always known later, whatever the clock does.
    NEW.known_at := greatest(clock_timestamp(), OLD.known_at + interval '1 microsecond');
    RETURN NEW;
END
$$;

CREATE TRIGGER bars_revised BEFORE UPDATE ON bars FOR EACH ROW EXECUTE FUNCTION keep_bar_revision();

-- Corrections and cancels are few and name their trade by its id.
CREATE INDEX ticks_amending ON ticks (symbol, trade_id) WHERE kind IN ('correct', 'cancel');

-- Minutes of event time that a write of ticks has touched and nobody has looked at since.
CREATE TABLE touched_minutes (
    symbol   text        NOT NULL,
    minute   timestamptz NOT NULL,
    writes   bigint      NOT NULL DEFAULT 1,
    CONSTRAINT touched_minutes_key PRIMARY KEY (symbol, minute)
) WITH (fillfactor = 50);

-- Bars to be held against the tick log once they are closed. `version` moves with every new reason to look.
CREATE TABLE unchecked_bars (
    symbol     text        NOT NULL,
    "interval" text        NOT NULL,
    "start"    timestamptz NOT NULL,
    version    bigint      NOT NULL DEFAULT 1,
    corrected  boolean     NOT NULL DEFAULT false,
    cancelled  boolean     NOT NULL DEFAULT false,
    CONSTRAINT unchecked_bars_key PRIMARY KEY (symbol, "interval", "start")
);
CREATE INDEX unchecked_bars_by_start ON unchecked_bars ("start");

-- Series of which a bar was amended. `number` says to whoever holds a state of the series whether it is older than that;
-- until `settled` the other stores may lack what was amended from `from_start` on.
CREATE SEQUENCE amendment_numbers;
CREATE TABLE amended_series (
    symbol     text        NOT NULL,
    "interval" text        NOT NULL,
    number     bigint      NOT NULL,
    from_start timestamptz NOT NULL,
    since      timestamptz NOT NULL,
    restated   boolean     NOT NULL,
    settled    boolean     NOT NULL,
    CONSTRAINT amended_series_key PRIMARY KEY (symbol, "interval")
);
CREATE INDEX amended_series_unsettled ON amended_series (symbol) WHERE NOT settled;

-- Of each symbol and UTC day: closed bars that were checked, and how many of them were right as they were first made.
CREATE TABLE reconciled (
    symbol  text        NOT NULL,
    day     date        NOT NULL,
    checked bigint      NOT NULL,
    matched bigint      NOT NULL,
    amended bigint      NOT NULL,
    at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reconciled_key PRIMARY KEY (symbol, day)
);

-- One row for each run that found ticks behind the watermark: how long after their event time they were received.
CREATE TABLE late_ticks_seen (
    at     timestamptz NOT NULL DEFAULT clock_timestamp() PRIMARY KEY,
    ticks  bigint NOT NULL,
    p50_us bigint NOT NULL,
    p90_us bigint NOT NULL,
    p99_us bigint NOT NULL,
    max_us bigint NOT NULL
);

-- States of an hour or more ago: where indicators can be computed from again without the whole series.
CREATE TABLE indicator_snapshots (
    symbol     text        NOT NULL,
    "interval" text        NOT NULL,
    "start"    timestamptz NOT NULL,
    specs      text        NOT NULL,
    state      bytea       NOT NULL,
    CONSTRAINT indicator_snapshots_key PRIMARY KEY (symbol, "interval", "start")
);
