"""Tests of americano_pipelines.sources."""
