-- Runs in Postgres. The state of a table, bucket by bucket: any insert, update, delete or move shows.
SELECT
    coalesce(to_char(bucket, 'YYYY-MM'), {rest}) AS bucket,
    sum(row_count)::bigint AS row_count,
    sum(fingerprint)::text AS fingerprint
FROM (
    SELECT {bucket} AS bucket, count(*) AS row_count, sum({row_hash}) AS fingerprint
    FROM {relation} AS t
    GROUP BY 1
) AS buckets
GROUP BY 1
ORDER BY 1
