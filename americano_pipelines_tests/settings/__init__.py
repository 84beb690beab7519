"""Tests of americano_pipelines.settings."""
