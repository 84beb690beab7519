SELECT
    count({column}) - count(DISTINCT {column}) AS repeated,
    count(*) - count({column}) AS absent
FROM {relation}
