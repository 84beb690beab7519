"""The demo's Postgres: its programs, its folders and the life of one server."""
