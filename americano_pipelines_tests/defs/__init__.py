"""Tests of americano_pipelines.defs."""
