"""Fixtures of the tests of the sync."""

from collections.abc import Iterator

import pytest

from americano_pipelines_tests.sync.forked import Commands


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Commands]:
    processes = Commands(tmp_path_factory.mktemp("commands"))
    yield processes
    processes.close()
