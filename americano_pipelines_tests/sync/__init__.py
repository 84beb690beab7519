"""Tests of the whole sync: any history of the source, writers at work, killed processes, faults."""
