-- A rollup by period, in the order of its periods: as it was where nothing changed, computed anew elsewhere.
SELECT *
FROM (
    SELECT *
    FROM {rollup}
    WHERE {changed} IS NOT TRUE
    UNION ALL
    ({query})
) AS periods
ORDER BY 1
