-- Protocols whose plan declared a group once, and whose present plan does not; when that was first seen.
SELECT
    protocol_id,
    max(ended_at) AS ended_at
FROM meta.plans
WHERE group_key = $group AND protocol_id NOT IN (
    SELECT protocol_id FROM meta.plans WHERE group_key = $group AND is_current
)
GROUP BY protocol_id
ORDER BY protocol_id
