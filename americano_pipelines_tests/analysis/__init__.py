"""Tests of americano_pipelines.analysis."""
