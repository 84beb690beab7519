"""Tests of americano_pipelines.research."""
