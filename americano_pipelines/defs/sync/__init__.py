"""Dagster's side of the sync: assets of the source, the lake and the published file, and their jobs."""
