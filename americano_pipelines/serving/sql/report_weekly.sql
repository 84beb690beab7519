-- The rollup holds the counts over all learners; those of some are counted from their events.
WITH counts AS (
    SELECT week, events, learners
    FROM research.weekly_events
    WHERE $scope IS NULL
    UNION ALL
    SELECT
        CAST(date_trunc('week', event_time) AS DATE) AS week,
        count(*) AS events,
        count(DISTINCT learner_id) AS learners
    FROM research.events
    WHERE $scope IS NOT NULL AND learner_id IN (SELECT learner_id FROM memory.main.learners_of($scope))
    GROUP BY 1
)

SELECT
    week,
    CASE WHEN learners >= $least_learners THEN events END AS events,
    CASE WHEN learners >= $least_learners THEN learners END AS learners,
    learners < $least_learners AS withheld
FROM counts
ORDER BY week
