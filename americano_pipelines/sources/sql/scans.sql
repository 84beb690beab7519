-- Runs in DuckDB. For each of its statements: transactions begun on Postgres, those given a shared snapshot, scans that
-- share one. DuckDB's log of what its extension sent is the only evidence of the connections that a scan opens.
SELECT
    query_id,
    count(*) FILTER (regexp_matches(message, '^\{''query'': ''?BEGIN TRANSACTION')) AS begun,
    count(*) FILTER (regexp_matches(message, '^\{''query'': ''?SET TRANSACTION SNAPSHOT')) AS given,
    count(*) FILTER (regexp_matches(message, '^\{''query'': ''?SELECT [^;]*pg_export_snapshot\(\)')) AS sharing
FROM duckdb_logs
WHERE type = 'PostgresQueryLog' AND connection_id = $1
GROUP BY query_id
