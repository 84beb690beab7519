"""Records of analyses: what ran on what, where it is kept, and whether it still holds."""
