"""Benchmarks: each of our operations against its bare counterpart, measured in one run."""
