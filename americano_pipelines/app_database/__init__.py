"""The app's table of analysis runs: claim, create, complete and fail rows in it."""
