"""Read the source: table contracts, the Postgres snapshot, external Parquet files. Never write."""
