"""Postgres to Parquet to DuckDB, whole or not at all, with a checkable record of every analysis."""
