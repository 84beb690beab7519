CREATE TABLE events AS FROM read_parquet($1) ORDER BY date_trunc('month', "timestamp"), "userId", "timestamp"
