-- Runs in Postgres: the last place of every range of about so many bytes that a table is cut into, its bytes, and the
-- most bytes that as many rows as DuckDB reads at once take, where they follow each other.
-- A row without compressed and long values is not looked into: that would take as long as to read the table.
WITH sizes AS MATERIALIZED (
    SELECT
        ctid AS place,
        CASE
            WHEN {is_long} THEN {bytes}
            ELSE {stored_bytes}
        END AS bytes
    FROM {relation}
    WHERE {where}
),

ranges AS MATERIALIZED (
    SELECT
        place,
        bytes,
        ((sum(bytes) OVER (ORDER BY place) - bytes) / {budget})::bigint AS number,
        (row_number() OVER (ORDER BY place) - 1) / {vector} AS vector
    FROM sizes
)

SELECT
    max(place)::text AS last_place,
    sum(bytes)::bigint AS bytes,
    (SELECT max(v.bytes) FROM (SELECT sum(bytes)::bigint AS bytes FROM ranges GROUP BY vector) AS v) AS bytes_at_once
FROM ranges
GROUP BY number
ORDER BY number
