-- What predictions came to, so that a scorecard need not look at each of them: sums of a series, quarter of an hour,
-- model, horizon and block. All of it can be made again from predictions and bars.

CREATE TABLE prediction_scores (
    "interval"       text             NOT NULL,
    "start"          timestamptz      NOT NULL,
    symbol           text             NOT NULL,
    model            text             NOT NULL,
    horizon          integer          NOT NULL,
    block            bigint           NOT NULL,
    made             bigint           NOT NULL,
    abstained_return bigint           NOT NULL,
    abstained_rise   bigint           NOT NULL,
    known            bigint           NOT NULL,
    other_session    bigint           NOT NULL,
    "right"          double precision NOT NULL,
    brier            double precision NOT NULL,
    error            double precision NOT NULL,
    error_of_zero    double precision NOT NULL,
    -- The probabilities said before a rise and before a fall, each as a big-endian double.
    rose             bytea            NOT NULL,
    fell             bytea            NOT NULL,
    CONSTRAINT prediction_scores_key PRIMARY KEY ("interval", "start", symbol, model, horizon, block)
);

-- How far a series is summed up: predictions after bars that start in [begun, until).
CREATE TABLE prediction_series (
    "interval" text        NOT NULL,
    symbol     text        NOT NULL,
    begun      timestamptz NOT NULL,
    until      timestamptz NOT NULL,
    longest    integer     NOT NULL DEFAULT 1,
    tried_at   timestamptz NOT NULL DEFAULT '-infinity',
    CONSTRAINT prediction_series_key PRIMARY KEY ("interval", symbol)
) WITH (fillfactor = 50);

-- The calendar that the sums are made by, and when bars were last looked at that had changed.
CREATE TABLE prediction_scoring (
    "interval" text        NOT NULL CONSTRAINT prediction_scoring_key PRIMARY KEY,
    calendar   text        NOT NULL,
    looked_at  timestamptz NOT NULL
);

-- Bars are written in the order in which they become known: an index of a few pages finds what changed.
CREATE INDEX bars_by_known ON bars USING brin (known_at) WITH (pages_per_range = 32, autosummarize = on);
