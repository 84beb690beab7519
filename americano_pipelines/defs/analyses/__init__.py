"""Dagster's side of the analyses: assets, resources, requests of the app, reconciliation of ended runs."""
