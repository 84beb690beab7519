INSERT INTO {target} ({columns})
SELECT {projection}
FROM {relation}
ORDER BY {order}
