"""Defaults of the statistics that people see before anything is computed, in the launchpad.

Here belongs what must be known without numpy: the definitions are loaded by every process of Dagster.
"""

# Of the search for change points: fewest days between two changes, and the factor of noise^2 ln(days).
MIN_SIZE = 7
FACTOR = 3.0
