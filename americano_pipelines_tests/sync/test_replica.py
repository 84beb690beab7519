"""A read replica as the source: a server in recovery, which writes nothing and admits no lock that writers need."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from americano_pipelines.lake import manifest as lake
from americano_pipelines_tests.conftest import Database, cut, new_server
from americano_pipelines_tests.sync.faults import BOTH, MakeSettings, equal
from americano_pipelines_tests.sync.support import sync


@pytest.fixture(scope="module")
def replica(server_folder: Path) -> Iterator[Database]:
    """The app's database on a server that stays in recovery, as a hot standby does."""
    with new_server(server_folder / "replica") as server:
        database = cut(server, "prisma")
        server.postgres.stop()
        (server.postgres.pgdata / "standby.signal").touch()
        server.postgres.start()
        assert database.execute("SELECT pg_is_in_recovery()") == [(True,)]
        yield database


@BOTH
def test_a_replica_is_read_like_any_server(replica: Database, settings_for: MakeSettings, *, scanner: bool) -> None:
    settings = settings_for(**replica.variables(duckdb_use_postgres_scanner=scanner))

    outcome = sync(settings)

    assert outcome.blocked_by == []
    equal(settings, replica)
    assert not sync(settings).changed
    identity = outcome.document.source
    assert identity["in_recovery"]
    if not scanner:
        manifest = lake.read(settings)
        assert manifest is not None
        assert manifest.source["in_recovery"]
