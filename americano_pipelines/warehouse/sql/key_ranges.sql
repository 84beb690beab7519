-- Runs in DuckDB: a relation cut into ranges of its sort key of about so many bytes each. Of every range the last key,
-- whether it is the only one, the bytes, and the most bytes of as many rows as DuckDB writes at once. A key whose rows
-- alone take more is a range of its own, and so are the rows without a key.
WITH keys AS (
    SELECT
        key,
        rows,
        bytes,
        key IS NULL OR bytes > {budget} AS alone,
        sum(bytes) OVER by_key AS bytes_so_far,
        sum(rows) OVER by_key AS rows_so_far
    FROM (SELECT {key} AS key, sum({bytes}) AS bytes, count(*) AS rows FROM {relation} GROUP BY ALL)
    WINDOW by_key AS (ORDER BY key NULLS LAST)
),

vectors AS (
    SELECT
        *,
        sum(bytes) OVER vector * least(1, {vector} / sum(rows) OVER vector) AS bytes_at_once,
        sum(CAST(alone OR after_alone AS BIGINT)) OVER by_key AS cuts
    FROM (SELECT *, coalesce(lag(alone) OVER (ORDER BY key NULLS LAST), false) AS after_alone FROM keys)
    WINDOW vector AS (PARTITION BY floor((rows_so_far - 1) / {vector})), by_key AS (ORDER BY key NULLS LAST)
)

SELECT
    CAST(max(key) AS VARCHAR) AS last_key,
    count(*) = 1 AS is_single,
    CAST(sum(bytes) AS BIGINT) AS bytes,
    CAST(max(bytes_at_once) AS BIGINT) AS bytes_at_once
FROM vectors
GROUP BY cuts, floor(bytes_so_far / {budget}), key IS NULL
ORDER BY max(bytes_so_far), last_key NULLS LAST
