"""The `americano` command line: one module for each family of commands."""

from americano_pipelines.cli.main import main

__all__ = ["main"]
