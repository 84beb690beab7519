-- Events as the app writes them: 15 columns, 23 months, roughly in time order, two in a hundred up to ten days late.
-- Of 2,001 learners one has a tenth of all events, one has a few, and the others have equally many.
CREATE TABLE behavioral_events (
    id text PRIMARY KEY,
    "userId" text NOT NULL,
    "eventType" text NOT NULL,
    "eventData" jsonb NOT NULL,
    "timestamp" timestamp(3) NOT NULL,
    "completionQuality" text,
    "contentType" text,
    "difficultyLevel" text,
    "dayOfWeek" integer,
    "engagementLevel" text,
    "sessionPerformanceScore" integer,
    "timeOfDay" integer,
    "experimentPhase" text,
    "randomizationSeed" integer,
    "contextMetadataId" text
);

SELECT setseed(0.42);

INSERT INTO behavioral_events
SELECT
    'c' || substr(encode(sha256(i::text::bytea), 'hex'), 1, 24),
    'c' || substr(encode(sha256((
        CASE WHEN i % 10 = 0 THEN 'heaviest' WHEN i % 100000 = 1 THEN 'rare' ELSE (i::bigint * 2654435761 % 1999)::text END
    )::bytea), 'hex'), 1, 24),
    (ARRAY['CARD_REVIEWED', 'MISSION_STARTED', 'MISSION_COMPLETED', 'SEARCH_PERFORMED'])[1 + i % 4],
    jsonb_build_object('card', i, 'note', 'what was done in event ' || i, 'score', i % 100, 'tags', ARRAY['a', 'b']),
    timestamp '2024-01-01' + (
        i::float8 / {rows} * 699 + random() * 0.2 - CASE WHEN i % 50 = 0 THEN least(random() * 10, i::float8 / {rows} * 699) ELSE 0 END
    ) * interval '1 day',
    (ARRAY['RUSHED', 'NORMAL', 'THOROUGH', NULL])[1 + i % 4],
    'anatomy',
    'HARD',
    i % 7,
    'HIGH',
    CASE WHEN i % 2 = 0 THEN i % 101 END,
    i % 24,
    CASE WHEN i % 10 = 0 THEN 'baseline_1' END,
    42,
    'c' || substr(encode(sha256((i + 7)::text::bytea), 'hex'), 1, 24)
FROM generate_series(1, {rows}) AS i;

CREATE INDEX ON behavioral_events ("timestamp");
CREATE INDEX ON behavioral_events ("userId");
CREATE INDEX ON behavioral_events ("userId", "eventType", "timestamp");
CREATE INDEX ON behavioral_events ("experimentPhase");
