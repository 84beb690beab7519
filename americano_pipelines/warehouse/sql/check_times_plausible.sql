SELECT
    count(*) FILTER (WHERE CAST({column} AS TIMESTAMP) < TIMESTAMP '2000-01-01') AS before_2000,
    count(*) FILTER (WHERE CAST({column} AS TIMESTAMP) > now() AT TIME ZONE 'UTC') AS in_future
FROM {relation}
