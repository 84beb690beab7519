"""Tests of americano_pipelines.lake."""
