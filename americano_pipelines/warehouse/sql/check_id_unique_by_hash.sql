-- As check_id_unique.sql, but unequal ids may count as repeated: their hashes may be equal. Equal ids always do.
SELECT
    count({column}) - count(DISTINCT hash({column})) FILTER (WHERE {column} IS NOT NULL) AS repeated,
    count(*) - count({column}) AS absent
FROM {relation}
