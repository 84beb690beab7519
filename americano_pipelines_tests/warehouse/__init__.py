"""Tests of americano_pipelines.warehouse."""
