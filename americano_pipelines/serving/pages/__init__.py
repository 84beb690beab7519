"""Pages for people: what the API answers with, drawn and in words, without scripts."""
