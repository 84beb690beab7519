"""Analyses of a protocol: their input, their results and how the results are shown."""
