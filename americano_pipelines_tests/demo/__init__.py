"""Tests of the embedded Postgres and of the data it is filled with."""
