"""Build the published DuckDB file aside, reconcile it, publish it as a whole, and read it."""
