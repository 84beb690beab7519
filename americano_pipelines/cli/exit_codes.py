"""Exit codes: 0 done, 1 failed, 2 wrong use or configuration (as click has it)."""

FAILED, WRONG_USE = 1, 2
