-- What the predictor said, and when: a row is only ever written before its outcome can be known.

CREATE TABLE predictions (
    symbol           text             NOT NULL,
    "interval"       text             NOT NULL,
    "start"          timestamptz      NOT NULL,
    horizon          integer          NOT NULL,
    model            text             NOT NULL,
    -- The end of the last bar that the outcome is made of.
    outcome_at       timestamptz      NOT NULL,
    made_at          timestamptz      NOT NULL DEFAULT clock_timestamp(),
    expected_return  double precision NOT NULL,
    rise_probability double precision NOT NULL,
    volatility       double precision NOT NULL,
    abstains         text[]           NOT NULL,
    CONSTRAINT predictions_key PRIMARY KEY (symbol, "interval", "start", horizon, model),
    CONSTRAINT predictions_before_their_outcome CHECK (made_at < outcome_at)
);
CREATE INDEX predictions_by_start ON predictions ("interval", "start");
