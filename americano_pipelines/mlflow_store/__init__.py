"""MLflow: the client with bounded waits, runs, artifacts and registered models."""
