-- What feeds leave behind: gaps in a stream and what became of them, polling jobs, and requests counted against quotas.

CREATE TABLE gaps (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text        NOT NULL,
    symbol      text        NOT NULL,
    cause       text        NOT NULL,  -- ids, silence, disconnect, switch
    first_id    bigint,                -- the first and last trade id that did not come, where ids are counted
    last_id     bigint,
    start_us    bigint      NOT NULL,  -- event time of the last tick before and the first one after
    end_us      bigint      NOT NULL,
    state       text        NOT NULL DEFAULT 'open',  -- open, filled, or lost: the provider cannot give it any more
    filled      bigint      NOT NULL DEFAULT 0,       -- ticks that came later
    detail      text        NOT NULL DEFAULT '',
    noticed_at  timestamptz NOT NULL DEFAULT now(),
    settled_at  timestamptz,
    CONSTRAINT gaps_once UNIQUE NULLS NOT DISTINCT (source, symbol, cause, first_id, start_us)
);

CREATE INDEX gaps_open ON gaps (source, symbol) WHERE state = 'open';

CREATE TABLE polling_jobs (
    id               uuid        PRIMARY KEY,
    provider         text        NOT NULL,
    symbols          text[]      NOT NULL,
    interval_seconds double precision NOT NULL,
    state            text        NOT NULL DEFAULT 'active',  -- active, failed
    detail           text        NOT NULL DEFAULT '',
    created_at       timestamptz NOT NULL DEFAULT now(),
    next_at          timestamptz NOT NULL DEFAULT now(),
    last_at          timestamptz,
    polls            bigint      NOT NULL DEFAULT 0,
    ticks            bigint      NOT NULL DEFAULT 0
);

-- The latest requests of each provider, so that all processes, and one that was killed and started again, share a quota.
CREATE TABLE provider_requests (
    provider text        NOT NULL,
    made_at  timestamptz NOT NULL
);

CREATE INDEX provider_requests_recent ON provider_requests (provider, made_at);

-- What a backfill has finished: half-open ranges of event time, epoch microseconds.
CREATE TABLE backfilled (
    source   text   NOT NULL,
    symbol   text   NOT NULL,
    what     text   NOT NULL,  -- ticks, or bars of one interval: bars:1m
    start_us bigint NOT NULL,
    end_us   bigint NOT NULL,
    rows     bigint NOT NULL,
    done_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT backfilled_once PRIMARY KEY (source, symbol, what, start_us, end_us)
);
