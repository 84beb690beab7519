"""Tests of americano_pipelines.cli."""
