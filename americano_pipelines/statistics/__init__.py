"""Statistics of single-case experiments: pure functions of arrays, no I/O."""
