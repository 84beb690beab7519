"""Tests of the sync as a whole: any history of the source, writers at work, processes killed, things broken."""
