"""The training demo: a model that predicts whether a score will be high, from what was known before it."""
