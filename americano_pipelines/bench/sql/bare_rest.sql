CREATE TABLE daily AS
SELECT date_trunc('day', "timestamp") AS day, count(*) AS events, count(DISTINCT "userId") AS learners FROM events GROUP BY 1;
CREATE TABLE weekly AS
SELECT date_trunc('week', "timestamp") AS week, count(*) AS events, count(DISTINCT "userId") AS learners FROM events GROUP BY 1;
CREATE TABLE by_phase AS
SELECT "experimentPhase" AS phase, count(*) AS events, count(DISTINCT "userId") AS learners FROM events GROUP BY 1;
