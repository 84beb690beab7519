"""State how many assignments are drawn where there are too many to look at all; of its own, to import without numpy."""

# With the default the 99 % interval of a p of .05 is .048 to .052; the most takes some seconds and 0.5 GB.
DRAWS, MIN_DRAWS, MAX_DRAWS = 99_999, 999, 4_999_999
