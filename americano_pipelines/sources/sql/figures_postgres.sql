-- Runs in Postgres. The same figures as figures_duckdb.sql, from the rows as the source holds them.
SELECT
    coalesce(to_char(bucket, 'YYYY-MM'), {rest}) AS bucket,
    count(*) AS row_count,
    min(us) AS min_us,
    max(us) AS max_us,
    count(*) FILTER (WHERE misfit) AS misfits,
    coalesce(bit_xor(('x' || substr(md5(id), 1, 15))::bit(60)::bigint + us), 0) AS checksum
FROM (
    SELECT
        {bucket} AS bucket,
        {misfits} AS misfit,
        coalesce({id}, '') AS id,
        CASE
            WHEN {in_range} THEN (extract(EPOCH FROM {time}) * 1000000)::bigint
            WHEN {time} IS NULL THEN 0
            WHEN {time} < '0001-01-01' THEN -1
            ELSE 1
        END AS us
    FROM {relation} AS t
    WHERE {where}
) AS rows
GROUP BY 1
ORDER BY 1
