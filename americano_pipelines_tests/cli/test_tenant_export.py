"""`americano export --tenant` and `--protocol`: the rows that may be handed out, and their end by a purge."""

import json
import re
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from americano_pipelines.common.hashing import file_sha256
from americano_pipelines.common.leftovers import sweep_leftovers
from americano_pipelines.erasure.api_access import ApiAccess
from americano_pipelines.erasure.exports import Exports
from americano_pipelines.erasure.learner import identify
from americano_pipelines.erasure.snapshot_files import protocol_owners
from americano_pipelines.erasure.store import ErasureAction, Item, Store
from americano_pipelines.errors import AmericanoError, ConfigError
from americano_pipelines.provenance import export_cards, request_cards
from americano_pipelines.serving.api_keys import KeyCard, create_key, stored_keys
from americano_pipelines.serving.principals import Scope
from americano_pipelines.serving.tenant_export import TABLES, TenantExport, export_for, text_without_id
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import environment
from americano_pipelines_tests.serving.published import LEARNERS, TENANT_OF, learner_of, publish_example

TENANT = "school-1"
THEIRS = {learner for learner in LEARNERS if TENANT_OF[learner] == TENANT}
SCHOOL = "experiment_protocols.school"
EVENTS_OF_A_LEARNER = 200
# Its first digit may be that of a learner of these files.
PSEUDONYM = re.compile("learner-[0-9a-f]{20}")


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    settings = publish_example(tmp_path_factory.mktemp("handed_out") / "data")
    return settings.model_copy(update={"americano_tenants": SCHOOL})


def exported_rows(export: TenantExport, table: str) -> list[dict[str, Any]]:
    """The rows of a table, whatever the format."""
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        if export.card.format == "duckdb":
            connection.execute(f"ATTACH '{export.card.files[0].path}' AS file (READ_ONLY)")
            relation = f"file.main.{table}"
        else:
            (path,) = (file.path for file in export.card.files if Path(file.path).stem == table)
            relation = f"read_{export.card.format}('{path}')"
        result = connection.execute(f"FROM {relation}")
        names = [column[0] for column in result.description or ()]
        return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@pytest.mark.parametrize("format_", ["duckdb", "parquet", "csv"])
def test_a_tenant_gets_the_rows_of_its_learners_and_no_other(example: Settings, tmp_path: Path, format_: str) -> None:
    target = tmp_path / ("out.duckdb" if format_ == "duckdb" else "out")

    export = export_for(example, target, format_, tenant=TENANT)

    names = {table.name for table in TABLES}
    assert export.card.tables.keys() == names
    tables = {name: exported_rows(export, name) for name in names}
    assert {name: len(rows) for name, rows in tables.items()} == dict(export.card.tables)
    assert len(tables["protocols"]) == len(tables["verdicts"]) == len(THEIRS)
    assert len(tables["events"]) == len(THEIRS) * EVENTS_OF_A_LEARNER
    assert len(tables["daily_outcomes"]) == len(THEIRS) * 28
    assert {row["verdict"] for row in tables["verdicts"]} == {"benefit"}
    assert len({row["learner_id"] for row in tables["protocols"]}) == len(THEIRS)
    assert {row["learner_id"] for row in tables["events"]} == {row["learner_id"] for row in tables["protocols"]}
    # Every id and label of these rows has the learner's id in it.
    assert learner_of(PSEUDONYM.sub("", str(tables))) == set()
    for file in export.card.files:
        if format_ == "csv":
            assert learner_of(PSEUDONYM.sub("", Path(file.path).read_text())) == set()
        assert (file_sha256(Path(file.path)), Path(file.path).stat().st_size) == (file.sha256, file.bytes)


def test_files_of_two_recipients_cannot_be_joined(example: Settings, tmp_path: Path) -> None:
    tenant = export_for(example, tmp_path / "tenant.duckdb", "duckdb", tenant=TENANT)
    alone = export_for(example, tmp_path / "protocol.duckdb", "duckdb", protocol_id="protocol-learner-1")

    (row,) = exported_rows(alone, "protocols")
    assert row["learner_id"] not in {other["learner_id"] for other in exported_rows(tenant, "protocols")}
    assert alone.card.tables["events"] == EVENTS_OF_A_LEARNER
    again = export_for(example, tmp_path / "again.duckdb", "duckdb", tenant=TENANT)
    assert exported_rows(again, "protocols") == exported_rows(tenant, "protocols")


def test_what_is_not_there_is_not_handed_out(example: Settings, tmp_path: Path) -> None:
    target = tmp_path / "out.duckdb"
    with pytest.raises(AmericanoError, match="no published protocol"):
        export_for(example, target, "duckdb", tenant="school-9")
    with pytest.raises(AmericanoError, match="no protocol 'absent'"):
        export_for(example, target, "duckdb", protocol_id="absent")
    with pytest.raises(ConfigError, match="AMERICANO_TENANTS is not set"):
        export_for(example.model_copy(update={"americano_tenants": None}), target, "duckdb", tenant=TENANT)
    with pytest.raises(AmericanoError, match="manages"):
        export_for(example, example.paths.records / "out.duckdb", "duckdb", tenant=TENANT)
    assert not target.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_export_leaves_no_row_with_the_recipient(example: Settings, tmp_path: Path) -> None:
    target = tmp_path / "recipient" / "out"
    killed = f"""
        import os, signal
        from pathlib import Path
        from americano_pipelines.serving import tenant_export
        from americano_pipelines.settings import load_settings
        tenant_export.keep_card = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
        tenant_export.export_for(load_settings(), Path({str(target)!r}), "csv", tenant={TENANT!r})
    """
    variables = environment(example.paths.root, americano_tenants=SCHOOL)

    done = subprocess.run([sys.executable, "-c", textwrap.dedent(killed)], env=variables, check=False)

    assert done.returncode == -signal.SIGKILL
    assert list(target.parent.iterdir()) == []
    (left,) = example.paths.root.glob(".tmp-export-????????????????")
    assert len(list(left.iterdir())) == len(TABLES)
    sweep_leftovers(example.paths)
    assert not left.exists()


def test_a_recipient_may_be_on_another_file_system(example: Settings) -> None:
    shared = Path("/dev/shm")  # noqa: S108 - a file system in memory
    if not shared.is_dir() or shared.stat().st_dev == example.paths.root.stat().st_dev:
        pytest.skip("this machine has no second file system to write to")
    with tempfile.TemporaryDirectory(dir=shared) as folder:
        export = export_for(example, Path(folder) / "out.duckdb", "duckdb", protocol_id="protocol-learner-1")

        (file,) = export.card.files
        assert file_sha256(Path(file.path)) == file.sha256
        assert list(Path(folder).iterdir()) == [Path(file.path)]


def purged(settings: Settings, learner: str, store: Store) -> list[Item]:
    """Erase a learner from one store; its items."""
    items = store.find(identify(settings.paths, learner, protocol_owners(settings)))
    store.remove([item for item in items if item.action is ErasureAction.REMOVE])
    return items


def test_a_purge_removes_the_files_and_what_names_the_learner(tmp_path: Path) -> None:
    settings = publish_example(tmp_path / "data").model_copy(update={"americano_tenants": SCHOOL})
    export = export_for(settings, tmp_path / "csv", "csv", tenant=TENANT)
    other = export_for(settings, tmp_path / "other.duckdb", "duckdb", tenant="school-2")
    alone = export_for(settings, tmp_path / "learner-1.duckdb", "duckdb", protocol_id="protocol-learner-1")
    interrupted = tmp_path / f".tmp-aside-{'0' * 16}"
    interrupted.mkdir()
    (interrupted / "learner-1.duckdb").write_bytes(b"rows")

    items = purged(settings, "learner-1", Exports(settings))

    written = {Path(file.path) for card in (export, alone) for file in card.card.files}
    assert {item.path for item in items} == {*written, interrupted}
    assert not any(path.exists() for path in (item.path for item in items) if path)
    assert Path(other.card.files[0].path).exists()
    assert [path.stem for path in export_cards.read_cards(settings.paths)] == [other.sha256]
    remains = sorted(settings.paths.purged_exports.iterdir())
    assert [path.stem for path in remains] == sorted([export.sha256, alone.sha256])
    for path in remains:
        content = path.read_text()
        assert "learner" not in content
        assert json.loads(content)["snapshot_id"] == export.card.snapshot_id
        assert json.loads(content)["files"][0]["sha256"]
    assert purged(settings, "learner-1", Exports(settings)) == []


def test_a_file_that_was_moved_is_reported(tmp_path: Path) -> None:
    settings = publish_example(tmp_path / "data")
    export = export_for(settings, tmp_path / "out.duckdb", "duckdb", protocol_id="protocol-learner-1")
    (tmp_path / "out.duckdb").rename(tmp_path / "elsewhere.duckdb")

    (item,) = purged(settings, "learner-1", Exports(settings))

    assert item.action is ErasureAction.CANNOT_REMOVE
    assert export.sha256 in item.reason
    assert export.sha256 in {path.stem for path in export_cards.read_cards(settings.paths)}


def test_a_purge_removes_keys_and_requests_of_the_learner(tmp_path: Path) -> None:
    settings = publish_example(tmp_path / "data")
    created = datetime.now(UTC)
    for learner in ("learner-1", "learner-2"):
        create_key(settings, KeyCard(name="k", scopes=frozenset({Scope.LEARNER}), learner=learner, created_at=created))
        card = request_cards.RequestCard(
            request_id=f"c{learner.replace('-', ''):0>24}",
            principal="key 1",
            protocol_id=f"protocol-{learner}",
            analysis="change_points",
            parameters={},
            requested_at=created,
        )
        assert request_cards.create_card(settings.paths, card)
    create_key(settings, KeyCard(name="all", scopes=frozenset({Scope.ADMIN}), created_at=created))

    items = purged(settings, "learner-1", ApiAccess(settings))

    assert [item.kind for item in items] == ["API key", "API request"]
    assert {stored.card.learner for stored in stored_keys(settings.paths)} == {"learner-2", None}
    cards = request_cards.read_cards(settings.paths).values()
    assert [card.protocol_id for card in cards if card] == ["protocol-learner-2"]


def test_the_command_says_what_it_wrote(example: Settings, tmp_path: Path, americano: Callable[..., Any]) -> None:
    values = {"americano_data_dir": example.paths.root, "americano_tenants": SCHOOL}
    path = tmp_path / "out.duckdb"

    done = americano("export", "--tenant", TENANT, "--to", str(path), "--json", **values)
    again = americano("export", "--tenant", TENANT, "--to", str(path), **values)
    both = americano("export", "--tenant", TENANT, "--protocol", "p", "--to", str(path), **values)
    folder = americano("export", "--protocol", "protocol-learner-1", "--format", "csv", "--to", str(path), **values)

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tables"]["protocols"] == len(THEIRS)
    assert json.loads(done.stdout)["files"][0]["sha256"] == file_sha256(path)
    assert {again.returncode, both.returncode, folder.returncode} == {2}
    assert "--force" in again.stderr


def test_two_exports_to_one_path_are_two_to_an_erasure(example: Settings, tmp_path: Path) -> None:
    target, taken = tmp_path / "same.duckdb", tmp_path / "sent.duckdb"
    export_for(example, target, "duckdb", tenant=TENANT)
    target.rename(taken)
    learner = min(THEIRS)
    export_for(example, target, "duckdb", protocol_id=f"protocol-{learner}")
    store = Exports(example)
    owner = identify(example.paths, learner, protocol_owners(example))
    present = [item for item in store.find(owner) if item.action is ErasureAction.REMOVE and item.name == str(target)]

    store.remove(present)

    left = [item for item in store.find(owner) if item.name == str(target)]
    assert [item.action for item in left] == [ErasureAction.CANNOT_REMOVE], "of the file that was taken away"


def test_the_id_goes_in_every_spelling_and_stays_out_of_numbers() -> None:
    def exported(learner_id: str, text: str) -> str:
        with duckdb.connect() as connection:
            value = text_without_id("entry", "label", "VARCHAR")
            member = "(SELECT $2 AS learner_id, 'P' AS pseudonym) AS member"
            statement = f"SELECT {value} FROM (SELECT $1 AS label) AS entry, {member}"
            row = connection.execute(statement, [text, learner_id]).fetchone()
        return str(row and row[0])

    uuid = "8f14e45f-ceea-467a-9b1c-0123456789ab"
    assert exported(uuid, f"of {uuid.upper()}") == "of P"
    assert exported(uuid, f"of {uuid.replace('-', '').upper()}!") == "of P!"
    assert exported("Anna.Meier@x.org", "trial of anna.meier@X.org") == "trial of P"
    assert exported("123456", "evt-91234567") == "evt-91234567"
    assert exported("learner-1", "nothing of the kind") == "nothing of the kind"
