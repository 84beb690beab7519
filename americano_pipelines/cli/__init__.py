"""`americano ...`: the operations of the project from a shell."""

from americano_pipelines.cli.main import main

__all__ = ["main"]
