SELECT count(*) FILTER (WHERE {column} IS NULL) AS nulls
FROM {relation}
