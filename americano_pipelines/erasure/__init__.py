"""Find and remove what is kept of one learner, store by store."""
