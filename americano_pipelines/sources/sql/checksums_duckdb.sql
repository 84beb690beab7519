-- Runs in DuckDB. Rows, first and last time and a checksum of (id, time), bucket by bucket.
-- Postgres has a time as microseconds since 2000 at hand, so that is what is hashed.
SELECT
    coalesce(strftime(bucket, '%Y-%m'), {rest}) AS bucket,
    count(*) AS row_count,
    coalesce(epoch_us(min(moment)), 0) AS min_us,
    coalesce(epoch_us(max(moment)), 0) AS max_us,
    coalesce(bit_xor(CAST('0x' || substr(sha256(id || coalesce(
        lower(lpad(to_hex(epoch_us(moment) - 946684800000000), 16, '0')), no_moment
    )), 1, 15) AS BIGINT)), 0) AS checksum
FROM (
    SELECT
        {bucket} AS bucket,
        coalesce({id}, '') AS id,
        CASE WHEN {in_range} THEN {time} END AS moment,
        CASE WHEN {time} IS NULL THEN 'none' WHEN {time} < '0001-01-01' THEN 'before' ELSE 'after' END AS no_moment
    FROM {relation}
    WHERE {where}
) AS rows
GROUP BY bucket
ORDER BY 1
