"""Run a real Postgres without an installation, filled with experiments whose truth is known."""
