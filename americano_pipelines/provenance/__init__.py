"""Records of analyses: carry out and record one, keep it, list and compare them."""
