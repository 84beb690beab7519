"""The lake: our own Parquet exports of the source and the manifest that says what they hold."""
