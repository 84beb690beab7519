"""Tests of americano_pipelines.bench."""
