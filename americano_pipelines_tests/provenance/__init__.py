"""Tests of americano_pipelines.provenance."""
