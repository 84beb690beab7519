-- The learners that a principal sees. A scope is a list of `tenant:...` and `learner:...`.
CREATE MACRO memory.main.learners_of(scope) AS TABLE
SELECT substr(entry, 9) AS learner_id
FROM (SELECT unnest(CAST(scope AS VARCHAR[])) AS entry)
WHERE starts_with(entry, 'learner:')
UNION ALL
SELECT learner_id
FROM memory.main.learner_tenants
WHERE 'tenant:' || tenant IN (SELECT unnest(CAST(scope AS VARCHAR[])))
