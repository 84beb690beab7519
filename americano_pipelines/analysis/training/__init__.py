"""The training demo: a model that predicts whether a score is high from what was known before it."""
