-- Rules of alerts, what is remembered of each rule and symbol, alerts, messages on their way to people, and how far
-- the topics were read: states, alerts, messages and places move in one transaction, so that nothing is decided twice.

CREATE TABLE alert_rules (
    id         uuid        PRIMARY KEY,
    version    bigint      NOT NULL DEFAULT 1,
    name       text        NOT NULL CONSTRAINT alert_rules_name UNIQUE,
    rule       jsonb       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- `watched` tells what the state is of: a rule that watches something else now has to begin anew.
CREATE TABLE alert_states (
    rule_id uuid  NOT NULL,
    symbol  text  NOT NULL,
    watched text  NOT NULL,
    state   jsonb NOT NULL,
    CONSTRAINT alert_states_key PRIMARY KEY (rule_id, symbol)
) WITH (fillfactor = 50);

-- An alert outlives its rule.
CREATE TABLE alerts (
    id              uuid             PRIMARY KEY,
    rule_id         uuid             NOT NULL,
    rule_name       text             NOT NULL,
    symbol          text             NOT NULL,
    "interval"      text             NOT NULL,
    severity        text             NOT NULL,
    state           text             NOT NULL CHECK (state IN ('firing', 'resolved')),
    since           timestamptz      NOT NULL,
    until           timestamptz,
    crossings       bigint           NOT NULL,
    messages        integer          NOT NULL,
    value           double precision,
    threshold       double precision,
    lowest          double precision,
    highest         double precision,
    "text"          text             NOT NULL,
    created_at      timestamptz      NOT NULL DEFAULT clock_timestamp(),
    updated_at      timestamptz      NOT NULL DEFAULT clock_timestamp(),
    acknowledged_at timestamptz,
    acknowledged_by text
);
CREATE INDEX alerts_by_time ON alerts (created_at DESC, id);
CREATE INDEX alerts_acknowledged ON alerts (id) WHERE state = 'firing' AND acknowledged_at IS NOT NULL;

-- A message to one target. `hold_seconds`: how long an attempt of which nobody knows the outcome counts as made.
CREATE TABLE alert_deliveries (
    seq          bigint           GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id   uuid             NOT NULL,
    alert_id     uuid             NOT NULL,
    target       text             NOT NULL,
    kind         text             NOT NULL,
    severity     text             NOT NULL,
    crossings    bigint           NOT NULL,
    title        text             NOT NULL,
    body         text             NOT NULL,
    hold_seconds double precision NOT NULL,
    state        text             NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'dry_run')),
    attempts     integer          NOT NULL DEFAULT 0,
    detail       text             NOT NULL DEFAULT '',
    digest_id    uuid,
    decided_at   timestamptz      NOT NULL DEFAULT clock_timestamp(),
    next_at      timestamptz      NOT NULL DEFAULT clock_timestamp(),
    started_at   timestamptz,
    sent_at      timestamptz,
    CONSTRAINT alert_deliveries_once UNIQUE (message_id, target)
);
CREATE INDEX alert_deliveries_waiting ON alert_deliveries (target, seq) WHERE state IN ('pending', 'sending');
CREATE INDEX alert_deliveries_of_alert ON alert_deliveries (alert_id, seq);

-- The record that is read next.
CREATE TABLE alert_offsets (
    topic       text   NOT NULL,
    "partition" int    NOT NULL,
    next        bigint NOT NULL,
    CONSTRAINT alert_offsets_key PRIMARY KEY (topic, "partition")
) WITH (fillfactor = 50);
