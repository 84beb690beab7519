"""The `americano` command line: one module per family of commands."""

from americano_pipelines.cli.main import main

__all__ = ["main"]
