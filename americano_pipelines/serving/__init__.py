"""The HTTP API: a process of its own that answers from the published file."""
