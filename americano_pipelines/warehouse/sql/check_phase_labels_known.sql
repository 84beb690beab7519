SELECT
    count(*) AS events,
    count(DISTINCT {column}) AS labels
FROM {relation}
WHERE {column} IS NOT NULL AND {column} NOT IN (SELECT {label} FROM {phases} WHERE {label} IS NOT NULL)
