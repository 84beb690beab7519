"""Tools without a subject of their own: files, locks, SQL text, DuckDB connections, timings."""
