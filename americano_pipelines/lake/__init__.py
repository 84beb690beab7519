"""Keep the lake: our own Parquet exports of the source, and the manifest that describes them."""
