CREATE OR REPLACE TABLE meta.plans (
    protocol_id VARCHAR,
    plan_sha256 VARCHAR,
    first_seen_snapshot VARCHAR,
    first_seen_at VARCHAR,
    source_updated_at VARCHAR,
    is_current BOOLEAN,
    group_key VARCHAR,
    ended_at VARCHAR
)
