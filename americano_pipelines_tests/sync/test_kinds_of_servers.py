"""The same sync from every kind of server."""

import pytest

from americano_pipelines_tests.postgres_servers import KINDS, Kinds
from americano_pipelines_tests.sync.faults import MakeSettings, equal
from americano_pipelines_tests.sync.support import sync


# Postgres 18 is what all other tests read.
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "18"])
@pytest.mark.slow
def test_every_kind_of_server_is_read_whole(postgres_kinds: Kinds, settings_for: MakeSettings, kind: str) -> None:
    database = postgres_kinds(kind).database()
    settings = settings_for(**database.variables(duckdb_use_postgres_scanner=True, americano_threads=4))

    assert sync(settings).blocked_by == []
    equal(settings, database)
    assert not sync(settings).changed
