-- Runs in DuckDB: what the footers of files say: rows, bytes of all columns in memory, columns of texts of which each is
-- kept once. A text takes no more in memory than in a file, unless the file shares its beginning with others or it is an
-- element of a list; numbers and short texts take at least a third in a file.
SELECT
    (SELECT sum(num_rows) FROM parquet_file_metadata($1)) AS rows,
    sum(total_uncompressed_size * CASE
        WHEN
            type <> 'BYTE_ARRAY'
            OR contains(encodings, 'DICTIONARY')
            OR contains(encodings, 'DELTA_BYTE_ARRAY')
            OR contains(path_in_schema, ', ')
            THEN 3
        ELSE 1
    END) AS bytes,
    coalesce(list(DISTINCT path_in_schema) FILTER (
        WHERE type = 'BYTE_ARRAY' AND contains(encodings, 'DICTIONARY')
    ), []) AS in_dictionary
FROM parquet_metadata($1)
