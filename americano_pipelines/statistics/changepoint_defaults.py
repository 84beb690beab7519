"""Defaults of the change point search, importable without numpy for the definitions."""

# Of the search for change points: fewest days between two changes, and the factor of noise^2 ln(days).
MIN_SIZE = 7
FACTOR = 3.0
