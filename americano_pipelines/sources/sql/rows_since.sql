-- Runs in Postgres. Rows, and those that a snapshot with this oldest running transaction may not have seen.
SELECT
    count(*) AS row_count,
    count(*) FILTER (WHERE age(xmin) <= age('{oldest}'::xid)) AS young
FROM {relation} AS t
