SELECT phases."protocolId" AS protocol_id, count(*) AS events, count(DISTINCT events."userId") AS learners
FROM {events} AS events
INNER JOIN {protocols} AS protocols ON protocols."userId" = events."userId"
INNER JOIN {phases} AS phases
    ON phases."protocolId" = protocols.id AND events."timestamp" >= phases."startDate" AND events."timestamp" < phases."endDate"
GROUP BY 1
ORDER BY 1
