"""One recorded analysis as one file: write it, and check it without this project."""
