-- Runs in Postgres. The same figures as checksums_duckdb.sql, from the rows as the source holds them.
-- The conversion of a time to a number is left to the few that are kept: a numeric for every row took as long as md5.
SELECT
    coalesce(to_char(bucket, 'YYYY-MM'), {rest}) AS bucket,
    count(*) AS row_count,
    {versions}::text AS fingerprint,
    count(*) FILTER (WHERE misfit) AS unrepresentable_rows,
    coalesce((extract(EPOCH FROM min(moment)) * 1000000)::bigint, 0) AS min_us,
    coalesce((extract(EPOCH FROM max(moment)) * 1000000)::bigint, 0) AS max_us,
    coalesce(
        bit_xor((
            'x' || substr(
                encode(
                    -- Of the bytes in UTF-8, whatever the database is encoded in; and not md5, which servers may forbid.
                    sha256(convert_to(id || coalesce(encode(timestamp_send(moment), 'hex'), no_moment), 'UTF8')), 'hex'
                ),
                1,
                15
            )
        )::bit(60)::bigint),
        0
    ) AS checksum
FROM (
    SELECT
        {bucket} AS bucket,
        {unrepresentable_rows} AS misfit,
        {version} AS version,
        coalesce({id}, '') AS id,
        CASE WHEN {in_range} THEN {time} END AS moment,
        CASE WHEN {time} IS NULL THEN 'none' WHEN {time} < '0001-01-01' THEN 'before' ELSE 'after' END AS no_moment
    FROM {relation} AS t
    WHERE {where}
) AS rows
GROUP BY bucket
ORDER BY 1
