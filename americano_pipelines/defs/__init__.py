"""Thin Dagster: assets, checks, jobs, schedules, sensors. Each calls the package below and reports what it did."""
