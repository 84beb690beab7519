-- As check_id_unique.sql, for a table whose other rows all had an id of their own.
WITH changed AS (
    SELECT {column} AS id
    FROM {relation}
    WHERE {changed}
)

SELECT
    (SELECT count(id) - count(DISTINCT id) FROM changed)
    + (
        SELECT count(DISTINCT {column})
        FROM {relation}
        WHERE {changed} IS NOT TRUE AND {column} IN (SELECT id FROM changed)
    ) AS repeated,
    (SELECT count(*) - count(id) FROM changed) AS absent
