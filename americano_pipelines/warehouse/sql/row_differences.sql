WITH source AS MATERIALIZED (
    SELECT {columns} FROM {source} WHERE {where}
),

published AS MATERIALIZED (
    SELECT {columns} FROM {published} WHERE {where}
)

(SELECT 'source' AS side, CAST({id} AS VARCHAR) AS id FROM (FROM source EXCEPT ALL FROM published) LIMIT {most})
UNION ALL
(SELECT 'published' AS side, CAST({id} AS VARCHAR) AS id FROM (FROM published EXCEPT ALL FROM source) LIMIT {most})
ORDER BY id, side
