"""Name the exit codes: 0 success, 1 failure, 2 wrong use or configuration (as click does)."""

FAILED, WRONG_USE = 1, 2
