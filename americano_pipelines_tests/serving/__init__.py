"""Tests of `americano_pipelines/serving`."""
