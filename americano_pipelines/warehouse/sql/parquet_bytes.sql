-- Runs in DuckDB: what the footers of files say: rows, bytes of all columns before compression, columns of texts of
-- which each is kept once.
SELECT
    (SELECT sum(num_rows) FROM parquet_file_metadata($1)) AS rows,
    sum(total_uncompressed_size) AS bytes,
    coalesce(list(DISTINCT path_in_schema) FILTER (
        WHERE type = 'BYTE_ARRAY' AND contains(encodings, 'DICTIONARY')
    ), []) AS in_dictionary
FROM parquet_metadata($1)
