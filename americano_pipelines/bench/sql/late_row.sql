INSERT INTO behavioral_events (id, "userId", "eventType", "eventData", "timestamp")
SELECT 'late', "userId", "eventType", "eventData", '2024-05-05' FROM behavioral_events LIMIT 1
