-- The naming of older scripts: a CamelCase table, snake_case columns, the protocol's id on the event.
CREATE TABLE "BehavioralEvent" (
    event_id text PRIMARY KEY,
    learner_id text,
    event_time timestamptz NOT NULL,
    event_type text,
    phase text,
    experiment_id text,
    score double precision
);

INSERT INTO "BehavioralEvent"
SELECT
    'e' || i, 'l' || i % 5, timestamptz '2024-06-01 00:00+02' + i * interval '37 minutes', 'click',
    CASE WHEN i % 2 = 0 THEN 'baseline_1' END, CASE WHEN i % 4 = 0 THEN 'x' || i % 3 END, i / 3.0
FROM generate_series(1, 1000) AS i;

GRANT USAGE ON SCHEMA public TO americano_sync;
GRANT SELECT ON "BehavioralEvent" TO americano_sync;
