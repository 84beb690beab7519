-- Runs in DuckDB: what the footers of files say of each column: bytes in memory, values, more values than rows (of
-- lists), and whether its texts are kept once each. A text takes no more in memory than in a file, unless the file shares
-- its beginning with others or it is an element of a list; numbers and short texts take at least a third in a file.
SELECT
    split_part(path_in_schema, ', ', 1) AS column_name,
    sum(total_uncompressed_size * CASE
        WHEN
            type <> 'BYTE_ARRAY'
            OR contains(encodings, 'DICTIONARY')
            OR contains(encodings, 'DELTA_BYTE_ARRAY')
            OR contains(path_in_schema, ', ')
            THEN 3
        ELSE 1
    END) AS bytes,
    sum(num_values) AS in_rows_and_lists,
    sum(greatest(num_values - row_group_num_rows, 0)) AS in_lists,
    bool_or(type = 'BYTE_ARRAY' AND contains(encodings, 'DICTIONARY')) AS in_dictionary
FROM parquet_metadata($1)
GROUP BY ALL
