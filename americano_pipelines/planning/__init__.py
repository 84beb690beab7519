"""Plan an experiment: draw its schedule, simulate the power of its test, check what the app records of it."""
