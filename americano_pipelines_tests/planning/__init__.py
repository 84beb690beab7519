"""Tests of americano_pipelines.planning."""
