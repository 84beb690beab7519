"""Tests of americano_pipelines.tracking."""
