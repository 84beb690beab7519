"""Benchmarks: each operation against its bare counterpart, measured in one run."""
