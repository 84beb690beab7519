"""Find and remove what is kept of one learner: snapshots, extracts, files of MLflow runs."""
