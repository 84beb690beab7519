"""Thin Dagster: assets, checks, jobs, schedules and sensors that call the packages below."""
