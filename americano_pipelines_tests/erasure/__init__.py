"""Tests of americano_pipelines.erasure."""
