INSERT INTO memory.main.learner_tenants
SELECT DISTINCT
    CAST({learner} AS VARCHAR) AS learner_id,
    CAST({tenant} AS VARCHAR) AS tenant
FROM {relation}
WHERE {learner} IS NOT NULL AND {tenant} IS NOT NULL
