"""The rows of the demo: protocols, learners, sessions and events, generated from fixed seeds."""
