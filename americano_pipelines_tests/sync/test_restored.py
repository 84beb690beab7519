"""A restored data folder of Postgres, which reuses transaction ids: which changes are seen, and which are not."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse.source_comparison import compare_with_source
from americano_pipelines_tests.conftest import Database, Server, cut, new_server
from americano_pipelines_tests.sync.faults import EVENTS, MakeSettings, equal, synced
from americano_pipelines_tests.sync.support import published_rows, source_rows, sync

FIRST = 'UPDATE behavioral_events SET "timeOfDay" = %s WHERE id = (SELECT min(id) FROM behavioral_events)'
LAST = 'UPDATE behavioral_events SET "timeOfDay" = %s WHERE id = (SELECT max(id) FROM behavioral_events)'


@pytest.fixture(scope="module")
def own_server(server_folder: Path) -> Iterator[Server]:
    """A server whose data folder can be put back."""
    with new_server(server_folder / "restored") as own:
        yield own


def keep_aside(server: Server, folder: Path) -> None:
    """Copy the data folder away while the server is off."""
    server.postgres.stop()
    _copy(server.postgres.pgdata, folder)
    server.postgres.start()


def put_back(server: Server, folder: Path) -> None:
    """Put a copy of the data folder in its place while the server is off."""
    server.postgres.stop()
    shutil.rmtree(server.postgres.pgdata)
    _copy(folder, server.postgres.pgdata)
    server.postgres.start()


def _copy(folder: Path, target: Path) -> None:
    """With owners and times, as a backup has them."""
    subprocess.run(["cp", "-a", str(folder), str(target)], check=True)


def synced_then_put_back(
    server: Server, settings_for: MakeSettings, folder: Path, *, scanner: bool
) -> tuple[Database, Settings]:
    """A sync of a change that the restored server never saw."""
    database = cut(server, "prisma")
    settings = settings_for(**database.variables(duckdb_use_postgres_scanner=scanner))
    sync(settings)
    keep_aside(server, folder)
    database.execute(FIRST, (99,))
    sync(settings)
    put_back(server, folder)
    return database, settings


@pytest.mark.slow
@pytest.mark.parametrize("scanner", [False, True], ids=["postgres", "scanner"])
@pytest.mark.parametrize("later", [0, 50], ids=["ids not passed", "ids passed"])
def test_other_rows_changed_under_the_same_transaction_ids_are_seen(
    own_server: Server,
    settings_for: MakeSettings,
    tmp_path: Path,
    later: int,
    *,
    scanner: bool,
) -> None:
    database, settings = synced_then_put_back(own_server, settings_for, tmp_path / "aside", scanner=scanner)
    database.execute(LAST, (98,))
    for _ in range(later):
        database.execute("SELECT pg_current_xact_id()")

    synced(settings, database)


@pytest.mark.slow
def test_the_deep_check_finds_a_row_changed_under_the_same_xid(
    own_server: Server, settings_for: MakeSettings, tmp_path: Path
) -> None:
    database, settings = synced_then_put_back(own_server, settings_for, tmp_path / "aside", scanner=False)
    database.execute(FIRST, (11,))
    manifest = lake.read(settings.paths)
    assert manifest is not None
    while int(database.execute("SELECT pg_current_xact_id()::text")[0][0]) <= int(manifest.source["xmax"]):
        pass

    sync(settings)

    assert published_rows(settings, EVENTS) != source_rows(database, EVENTS), "the limit that the guarantees name"
    differences = compare_with_source(settings, StageTimer(), deep=True).differences
    assert [difference.table for difference in differences] == [EVENTS]
    (identifier,) = database.execute("SELECT min(id) FROM behavioral_events")[0]
    assert {name for _, name in differences[0].rows} == {identifier}
    assert sync(settings, full=True).changed
    equal(settings, database)
