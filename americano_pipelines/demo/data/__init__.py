"""Generate the rows of the demo from fixed seeds: protocols, learners, sessions and events."""
