-- Runs in DuckDB: rows that are too wide to be sorted at once, in a file to read again in ranges.
COPY (FROM {relation}) TO '{file}' (FORMAT parquet, PARQUET_VERSION v2, ROW_GROUP_SIZE_BYTES {bytes}, DICTIONARY_SIZE_LIMIT 1)
