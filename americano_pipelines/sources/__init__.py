"""Read the source: table contracts, the Postgres snapshot, Parquet files made by others. Never write."""
