-- Runs in DuckDB: what the footers of files say of each column: bytes before compression, values, more values than rows
-- (of lists), and whether its texts are kept once each.
SELECT
    split_part(path_in_schema, ', ', 1) AS column_name,
    sum(total_uncompressed_size) AS bytes,
    sum(num_values) AS in_rows_and_lists,
    sum(greatest(num_values - row_group_num_rows, 0)) AS in_lists,
    bool_or(type = 'BYTE_ARRAY' AND contains(encodings, 'DICTIONARY')) AS in_dictionary
FROM parquet_metadata($1)
GROUP BY ALL
