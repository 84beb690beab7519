-- Sums, not XORs: equal rows would cancel out.
SELECT
    coalesce(strftime({bucket}, '%Y-%m'), {rest}) AS bucket,
    count(*) AS row_count,
    sum(CAST(hash({columns}) AS HUGEINT)) AS hashed
FROM {relation}
GROUP BY {bucket}
