-- Runs of scheduled jobs: what was due when, and what came of it.

CREATE TABLE job_runs (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    job       text        NOT NULL,
    due_at    timestamptz NOT NULL,  -- when the schedule wanted it; of a run by hand, when it began
    began_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at  timestamptz,
    state     text        NOT NULL DEFAULT 'running'
        CHECK (state IN ('running', 'done', 'failed', 'lost')),  -- lost: whoever ran it died
    exit_code integer,
    detail    text        NOT NULL DEFAULT ''  -- the last line of its output
);
CREATE INDEX job_runs_newest ON job_runs (job, due_at DESC, id DESC);
