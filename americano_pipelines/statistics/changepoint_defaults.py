"""Keep the defaults of the change point search, so that the definitions need not import numpy."""

# Of the search for change points: fewest days between two changes, and the factor of noise^2 ln(days).
MIN_SIZE = 7
FACTOR = 3.0
