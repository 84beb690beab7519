"""Tests of americano_pipelines.statistics."""
