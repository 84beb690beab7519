"""What the tests of an erasure share with those of `cli` and `provenance`."""

from americano_pipelines_tests.cli.conftest import cli, publish
from americano_pipelines_tests.provenance.conftest import lab

__all__ = ["cli", "lab", "publish"]
