-- Runs in Postgres: what a table takes on disk, what of that its long values take, and the average bytes of a few rows
-- as they are read, which are more than what compressed values take on disk.
SELECT
    pg_table_size(c.oid) AS stored,
    coalesce(pg_relation_size(nullif(c.reltoastrelid, 0)), 0) AS long_values,
    coalesce((
        SELECT avg({bytes})::bigint
        FROM (SELECT * FROM {relation} {sample} LIMIT {rows}) AS sample
    ), 0) AS as_read
FROM pg_class AS c
WHERE c.oid = '{name}'::regclass
