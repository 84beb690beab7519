"""The published DuckDB file: build it aside, reconcile it, publish it as a whole, read it."""
