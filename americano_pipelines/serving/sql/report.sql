-- The rollup holds the counts over all learners; those of some are counted from their events.
WITH counts AS (
    SELECT {key}, events, learners
    FROM {rollup}
    WHERE $scope IS NULL
    UNION ALL
    SELECT
        {value} AS {key},
        count(*) AS events,
        count(DISTINCT learner_id) AS learners
    FROM research.events
    WHERE $scope IS NOT NULL AND learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))
    GROUP BY 1
)

SELECT
    {key},
    CASE WHEN learners >= $least_learners THEN events END AS events,
    CASE WHEN learners >= $least_learners THEN learners END AS learners,
    learners < $least_learners AS withheld
FROM counts
ORDER BY {key}
