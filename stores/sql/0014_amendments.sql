-- Each amendment of a series by its number, so that whoever knew of an earlier one learns from where on all later ones
-- reach: amended_series has the last alone.
CREATE TABLE amendments (
    number     bigint      NOT NULL CONSTRAINT amendments_key PRIMARY KEY,
    symbol     text        NOT NULL,
    "interval" text        NOT NULL,
    from_start timestamptz NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
INSERT INTO amendments SELECT number, symbol, "interval", from_start, since FROM amended_series;

-- How far reconciling has come: bars that end no later were closed at its last run.
CREATE TABLE reconciling_reached (
    one     boolean     NOT NULL DEFAULT true CONSTRAINT reconciling_reached_key PRIMARY KEY CHECK (one),
    horizon timestamptz NOT NULL
);
