-- The historical tier: published daily bars as they traded, and what happened to the shares. Factors are made on read.
-- Both keep every revision, so that a read can tell what was known at a moment. Small: plain tables everywhere.

CREATE TABLE daily_bars (
    symbol   text          NOT NULL,
    day      date          NOT NULL,
    rev      int           NOT NULL,
    "open"   numeric(28,8) NOT NULL,
    high     numeric(28,8) NOT NULL,
    low      numeric(28,8) NOT NULL,
    "close"  numeric(28,8) NOT NULL,
    volume   numeric(38,8),
    source   text          NOT NULL,
    known_at timestamptz   NOT NULL DEFAULT now(),
    CONSTRAINT daily_bars_key PRIMARY KEY (symbol, day, rev)
);

-- A split has new_shares for old_shares. A dividend has an amount per share and may name the close it is measured by.
CREATE TABLE corporate_actions (
    symbol     text        NOT NULL,
    ex_date    date        NOT NULL,
    kind       text        NOT NULL CHECK (kind IN ('split', 'dividend')),
    rev        int         NOT NULL,
    new_shares numeric,
    old_shares numeric,
    amount     numeric,
    reference  numeric,
    source     text        NOT NULL,
    known_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT corporate_actions_key PRIMARY KEY (symbol, ex_date, kind, rev),
    CHECK (CASE kind WHEN 'split' THEN new_shares > 0 AND old_shares > 0 ELSE amount >= 0 END)
);
