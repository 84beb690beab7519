"""The published DuckDB file: built aside, reconciled, put in place as a whole; and reading it."""
