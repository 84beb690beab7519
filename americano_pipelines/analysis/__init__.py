"""Analyses of a protocol: what goes in, what comes out, how it is shown. Statistics are `research/`."""
