-- Runs in DuckDB. Rows, first and last time and a checksum of (id, time), bucket by bucket.
SELECT
    coalesce(strftime(bucket, '%Y-%m'), {rest}) AS bucket,
    count(*) AS row_count,
    min(us) AS min_us,
    max(us) AS max_us,
    coalesce(bit_xor(CAST('0x' || substr(md5(id), 1, 15) AS BIGINT) + us), 0) AS checksum
FROM (
    SELECT
        {bucket} AS bucket,
        coalesce({id}, '') AS id,
        CASE
            WHEN {in_range} THEN epoch_us({time})
            WHEN {time} IS NULL THEN 0
            WHEN {time} < '0001-01-01' THEN -1
            ELSE 1
        END AS us
    FROM {relation}
    WHERE {where}
) AS rows
GROUP BY 1
ORDER BY 1
