-- The rollup holds the counts over all learners; those of some are counted from their events.
WITH counts AS (
    SELECT phase, events, learners
    FROM research.events_by_phase
    WHERE $scope IS NULL
    UNION ALL
    SELECT
        phase,
        count(*) AS events,
        count(DISTINCT learner_id) AS learners
    FROM research.events
    WHERE $scope IS NOT NULL AND learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))
    GROUP BY 1
)

SELECT
    phase,
    CASE WHEN learners >= $least_learners THEN events END AS events,
    CASE WHEN learners >= $least_learners THEN learners END AS learners,
    learners < $least_learners AS withheld
FROM counts
ORDER BY phase
