-- Runs in Postgres. The state of a table, bucket by bucket: any insert, update, delete or move shows.
SELECT
    coalesce(to_char({bucket}, 'YYYY-MM'), {rest}) AS bucket,
    count(*) AS row_count,
    {fingerprint}::text AS fingerprint
FROM {relation} AS t
GROUP BY {bucket}
ORDER BY 1
