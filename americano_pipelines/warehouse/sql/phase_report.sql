-- Runs in DuckDB and in Postgres alike.
SELECT
    CAST(date_trunc('day', {time}) AS DATE) AS day,
    count(*) AS events,
    count(DISTINCT {learner}) AS learners
FROM {relation}
GROUP BY 1
ORDER BY 1
