"""Tests of verifying recorded analyses."""
