-- Ticks, bars and the symbols seen. The same on TimescaleDB and on plain PostgreSQL:
-- stores/hypertables.py turns ticks and bars into hypertables where the extension is there.

-- A unique constraint of a hypertable has to hold the time column. In this column order its index also
-- reads the newest ticks of a symbol, so that a tick costs one index entry.
CREATE TABLE ticks (
    event_time      timestamptz   NOT NULL,
    symbol          text          NOT NULL,
    seq             bigint        NOT NULL,
    price           numeric(18,8),
    size            numeric(18,8),
    trade_id        text,
    source          text          NOT NULL,
    venue           text,
    conditions      text,
    kind            text          NOT NULL,
    reported_us     bigint,
    received_us     bigint        NOT NULL,
    kafka_partition int,
    kafka_offset    bigint,
    identity        text          NOT NULL,
    CONSTRAINT ticks_identity UNIQUE (symbol, event_time, identity)
);

CREATE TABLE bars (
    symbol          text          NOT NULL,
    "interval"      text          NOT NULL,
    "start"         timestamptz   NOT NULL,
    "end"           timestamptz   NOT NULL,
    "open"          numeric(18,8),
    high            numeric(18,8),
    low             numeric(18,8),
    "close"         numeric(18,8),
    volume          numeric(28,8) NOT NULL,
    notional        numeric(38,16) NOT NULL,
    vwap            numeric(18,8),
    trade_count     bigint        NOT NULL,
    open_us         bigint,
    close_us        bigint,
    first_trade_id  text,
    last_trade_id   text,
    kafka_partition int,
    first_offset    bigint,
    last_offset     bigint,
    rev             int           NOT NULL,
    state           text          NOT NULL,
    reason          text,
    ruleset         text          NOT NULL,
    received_us     bigint        NOT NULL,
    processed_us    bigint,
    CONSTRAINT bars_key PRIMARY KEY (symbol, "interval", "start")
);

-- One small row per symbol, moved by every write: listing symbols and telling how fresh the data is
-- must not scan the big tables.
CREATE TABLE symbols (
    symbol           text PRIMARY KEY,
    asset_class      text,
    first_seen       timestamptz NOT NULL,
    last_seen        timestamptz NOT NULL,
    last_tick        timestamptz,
    last_received_us bigint,
    last_bar_end     timestamptz
) WITH (fillfactor = 50);
