-- Runs in DuckDB: one read of the source, split into a folder per month.
COPY (
    SELECT *, CAST({bucket} AS DATE) AS {bucket_column}
    FROM {relation}
) TO '{folder}' (
    FORMAT parquet,
    COMPRESSION zstd,
    PARQUET_VERSION v2,
    PARTITION_BY ({bucket_column}),
    FILENAME_PATTERN '{{i}}'{row_group}
)
