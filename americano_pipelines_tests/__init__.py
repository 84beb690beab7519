"""Tests of americano_pipelines; the tree mirrors the package."""
