"""Exports made by others: which files count, and why others are refused."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from americano_pipelines.errors import ConfigError, SourceError, TransientSourceError
from americano_pipelines.settings import Settings
from americano_pipelines.sources.parquet_files import FileTable, find_files
from americano_pipelines.sources.path_expansion import expand

ROW = "SELECT 'e1' AS id, 'l1' AS user_id, TIMESTAMP '2024-01-01' AS ts"


@pytest.fixture
def write(folder: Path, duck: duckdb.DuckDBPyConnection) -> Callable[..., Path]:
    """Write a Parquet file of these rows."""

    def write(name: str, query: str = ROW) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        duck.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
        return path

    return write


def rows(duck: duckdb.DuckDBPyConnection, table: FileTable) -> list[tuple[Any, ...]]:
    return duck.execute(f"SELECT {table.projection} FROM {table.relation} ORDER BY 1", table.parameters).fetchall()


def names(location: Path) -> list[str]:
    return [path.name for path in expand(location)]


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("a.parquet", ["a.parquet"]),
        ("_named.parquet", ["_named.parquet"]),
        ("", ["a.parquet", "b.parquet", "c.parquet"]),
        ("*.parquet", ["a.parquet"]),
        ("*/*.parquet", ["b.parquet"]),
        ("**/*.parquet", ["a.parquet", "b.parquet", "c.parquet"]),
        ("**/**/*.parquet", ["a.parquet", "b.parquet", "c.parquet"]),
        ("deep/**/*.parquet", ["b.parquet", "c.parquet"]),
        ("[ab].parquet", ["a.parquet"]),
        ("none/*.parquet", []),
        ("none.parquet", []),
    ],
)
def test_a_file_a_folder_and_a_glob_mean_the_finished_files(folder: Path, location: str, expected: list[str]) -> None:
    others = [".hidden.parquet", "_named.parquet", "_temporary/0/x.parquet", ".staging/x.parquet", "notes.txt"]
    for name in ["a.parquet", "deep/b.parquet", "deep/er/c.parquet", *others]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "folder.parquet").mkdir()

    assert names(folder / location) == expected


def test_a_hidden_folder_above_does_not_hide_the_files(tmp_path: Path) -> None:
    (tmp_path / ".cache" / "_in").mkdir(parents=True)
    (tmp_path / ".cache" / "_in" / "a.parquet").touch()

    assert names(tmp_path / ".cache" / "_in") == names(tmp_path / ".cache" / "_in" / "*.parquet") == ["a.parquet"]


def test_a_file_that_is_also_linked_counts_once(folder: Path, write: Callable[..., Path]) -> None:
    (folder / "latest.parquet").symlink_to(write("2024-01.parquet"))

    assert len(expand(folder)) == 1


@pytest.mark.parametrize(
    "name", ["events[1].parquet", "events?.parquet", "e*.parquet", "e{1,2}.parquet", "e'\".parquet"]
)
def test_a_name_that_looks_like_a_pattern_is_that_file(
    write: Callable[..., Path], find: Callable[..., FileTable], duck: duckdb.DuckDBPyConnection, name: str, folder: Path
) -> None:
    for other in ("events1.parquet", "eventsX.parquet", "e1.parquet"):
        write(other, ROW.replace("e1", "another"))
    write("plain").rename(folder / name)

    assert [row[0] for row in rows(duck, find(folder / name))] == ["e1"]


def test_rows_of_all_files_are_read_and_columns_may_be_missing(
    write: Callable[..., Path], find: Callable[..., FileTable], duck: duckdb.DuckDBPyConnection, folder: Path
) -> None:
    write("a.parquet")
    write("b.parquet", "SELECT TIMESTAMP '2024-01-02' AS ts, 'e2' AS id, 'l2' AS user_id, 'baseline' AS phase")

    table = find(folder)

    assert [(column.name, column.type) for column in table.columns][-1] == ("phase", "VARCHAR")
    assert [(row[0], row[1], row[3]) for row in rows(duck, table)] == [("e1", "l1", None), ("e2", "l2", "baseline")]
    assert dict(table.roles) == {"id": "id", "time": "ts", "learner": "user_id", "phase": "phase"}


def test_what_folder_names_say_of_the_rows_is_a_column(
    write: Callable[..., Path], find: Callable[..., FileTable], duck: duckdb.DuckDBPyConnection, folder: Path
) -> None:
    write("phase=one/a.parquet")
    write("phase=two/a.parquet", ROW.replace("e1", "e2"))
    table = find(folder)
    assert [row[-1] for row in rows(duck, table)] == ["one", "two"]

    path = write("b.parquet", ROW.replace("e1", "e3"))
    with pytest.raises(SourceError, match=rf"phase=one/a.parquet lies in folders that give .* phase, but {path} in"):
        find(folder)


def broken_files(folder: Path, whole: Path) -> dict[str, Path]:
    content = whole.read_bytes()
    damaged = {
        "cut in the middle": content[: len(content) // 2],
        "cut at the end": content[:-1],
        "empty": b"",
        "text": b"id,ts\n1,2024-01-01\n",
        "only the mark": b"PAR1",
    }
    for name, part in damaged.items():
        (folder / f"{name}.parquet").write_bytes(part)
    return {name: folder / f"{name}.parquet" for name in damaged}


def test_a_file_that_is_no_whole_parquet_file_is_refused_by_name(
    write: Callable[..., Path], find: Callable[..., FileTable], tmp_path: Path
) -> None:
    whole = write("whole.parquet")
    for path in broken_files(tmp_path, whole).values():
        with pytest.raises(SourceError, match="cannot be read as Parquet") as refused:
            find(path)
        assert str(path) in str(refused.value)


def test_one_broken_file_among_whole_ones_is_refused_by_name(
    write: Callable[..., Path], find: Callable[..., FileTable], folder: Path
) -> None:
    whole = write("a.parquet")
    write("c.parquet")
    (folder / "b.parquet").write_bytes(whole.read_bytes()[:-7])

    with pytest.raises(SourceError, match=r"b\.parquet cannot be read as Parquet"):
        find(folder)


def test_a_file_without_a_time_column_is_refused_by_name(
    write: Callable[..., Path], find: Callable[..., FileTable]
) -> None:
    path = write("a.parquet", "SELECT 1 AS id, DATE '2024-01-01' AS happened")

    with pytest.raises(SourceError, match=rf"{path} has no time column: none of event_time, .* \(id, happened\)"):
        find(path)
    assert find(path, americano_columns={"behavioral_events.time": "happened"}).roles["time"] == "happened"


@pytest.mark.parametrize("value", ["'2024-01-01'", "1704067200", "[TIMESTAMP '2024-01-01']", "TIME '10:00'"])
def test_a_time_column_of_a_wrong_type_is_refused_by_name(
    write: Callable[..., Path], find: Callable[..., FileTable], value: str
) -> None:
    path = write("a.parquet", f"SELECT 1 AS id, {value} AS ts")

    with pytest.raises(
        SourceError, match=rf"{path}: the time column 'ts' has type .*; it must be a date or a timestamp"
    ):
        find(path)


@pytest.mark.parametrize("column", ["user_id", "USER_ID"])
def test_files_that_disagree_on_a_type_are_refused_by_both_names(
    write: Callable[..., Path], find: Callable[..., FileTable], folder: Path, column: str
) -> None:
    write("a.parquet")
    write("b.parquet", f"SELECT 'e2' AS id, 7 AS {column}, TIMESTAMP '2024-01-02' AS ts")

    with pytest.raises(SourceError) as refused:
        find(folder)

    message = str(refused.value)
    assert message.startswith(
        f"{folder / 'b.parquet'}: column '{column}' is INTEGER, but VARCHAR in {folder / 'a.parquet'}"
    )


def test_a_file_that_changes_while_it_is_read_is_noticed(
    write: Callable[..., Path], find: Callable[..., FileTable]
) -> None:
    path = write("a.parquet")
    table = find(path)
    table.check_unchanged()

    status = path.stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    with pytest.raises(TransientSourceError, match=r"a\.parquet changed while it was read"):
        table.check_unchanged()
    path.unlink()
    with pytest.raises(TransientSourceError, match=r"a\.parquet changed while it was read"):
        table.check_unchanged()


def test_the_state_is_that_of_the_content_wherever_it_lies(
    write: Callable[..., Path], find: Callable[..., FileTable], folder: Path
) -> None:
    path = write("a.parquet")
    before = find(path)
    moved = find(path.rename(folder / "b.parquet"))
    assert moved.state_sha256 == before.state_sha256

    write("b.parquet", ROW.replace("e1", "e2"))
    assert find(folder / "b.parquet").state_sha256 != before.state_sha256


def test_a_missing_file_is_skipped_with_the_name_of_the_variable(
    write: Callable[..., Path], duck: duckdb.DuckDBPyConnection, settings_for: Callable[..., Settings], folder: Path
) -> None:
    settings = settings_for(
        behavioral_events_parquet=str(write("a.parquet")), analysis_runs_parquet=str(folder / "none" / "*.parquet")
    )
    tables, skipped = find_files(duck, settings)

    assert list(tables) == ["behavioral_events"]
    assert sorted(skipped) == ["analysis_runs", "experiment_protocols", "phase_assignments"]
    assert "none/*.parquet (set ANALYSIS_RUNS_PARQUET to" in skipped["analysis_runs"]
    assert str(settings.paths.root / "exports" / "phase_assignments.parquet") in skipped["phase_assignments"]


def test_a_link_that_leads_to_our_own_export_is_refused(
    write: Callable[..., Path], find: Callable[..., FileTable], tmp_path: Path, folder: Path
) -> None:
    own = tmp_path / "data" / "parquet" / "x.parquet"
    own.parent.mkdir(parents=True)
    write("x.parquet").rename(own)
    (folder / "link.parquet").symlink_to(own)

    with pytest.raises(ConfigError, match=r"BEHAVIORAL_EVENTS_PARQUET: leads to .*our own export"):
        find(folder)


def test_a_file_that_may_not_be_read_is_a_clear_error(
    write: Callable[..., Path], find: Callable[..., FileTable], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write("a.parquet")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)  # root, who may run this, is refused nothing
    with pytest.raises(SourceError, match=r"a\.parquet cannot be read: Permission denied"):
        find(path)


def test_the_real_export_is_read_as_it_is(shared: Path, find: Callable[..., FileTable]) -> None:
    table = find(shared / "data" / "moodle_behavioral_events.parquet")

    assert "time" in table.roles
    assert len(table.files) == 1


def test_a_folder_of_another_value_is_another_state(
    write: Callable[..., Path], find: Callable[..., FileTable], duck: duckdb.DuckDBPyConnection, folder: Path
) -> None:
    write("phase=A/a.parquet")
    before = find(folder)
    (folder / "phase=A").rename(folder / "phase=B")
    after = find(folder)

    assert after.state_sha256 != before.state_sha256
    assert [row[-1] for row in rows(duck, after)] == ["B"]


@pytest.mark.parametrize("name", ["id=7", "ID=7"])
def test_a_folder_that_would_hide_a_column_is_refused_by_name(
    write: Callable[..., Path], find: Callable[..., FileTable], folder: Path, name: str
) -> None:
    path = write(f"{name}/a.parquet")

    with pytest.raises(SourceError, match=rf"{path}: its folder '{name}' names a column that is also in the file"):
        find(folder)


def test_a_value_above_the_root_counts_only_where_there_are_values_below(
    write: Callable[..., Path], find: Callable[..., FileTable], duck: duckdb.DuckDBPyConnection, folder: Path
) -> None:
    above = folder / "user_id=9"
    write("user_id=9/in/a.parquet")
    for location in (above / "in", above / "in" / "*.parquet", above / "in" / "a.parquet"):
        table = find(location)
        assert [column.name for column in table.columns] == ["id", "user_id", "ts"]
        assert [row[1] for row in rows(duck, table)] == ["l1"]

    path = write("user_id=9/in/phase=A/b.parquet")
    with pytest.raises(SourceError, match=rf"{path}: the folder 'user_id=9' above it would be read as a column"):
        find(above / "in")


def test_linked_folders_and_endings_are_read_and_link_loops_end(
    write: Callable[..., Path], find: Callable[..., FileTable], duck: duckdb.DuckDBPyConnection, folder: Path
) -> None:
    write("in/a.parquet")
    write("in/B.PARQUET", ROW.replace("e1", "e2"))
    write("elsewhere/deep/c.parquet", ROW.replace("e1", "e3"))
    (folder / "in" / "linked").symlink_to(folder / "elsewhere")
    (folder / "elsewhere" / "back").symlink_to(folder / "in")
    (folder / "in" / "self").symlink_to(folder / "in")

    assert [row[0] for row in rows(duck, find(folder / "in"))] == ["e1", "e2", "e3"]


def test_a_file_replaced_by_one_of_the_same_size_and_time_is_noticed(
    write: Callable[..., Path], find: Callable[..., FileTable], folder: Path
) -> None:
    path = write("a.parquet")
    table, status = find(path), path.stat()
    other = write("b.parquet", ROW.replace("e1", "e2"))
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert other.stat().st_size == status.st_size
    other.replace(folder / "a.parquet")

    with pytest.raises(TransientSourceError, match=r"a\.parquet changed while it was read"):
        table.check_unchanged()


@pytest.mark.parametrize(
    ("table", "column", "rest"),
    [
        ("analysis_runs", "completed_at", "TIMESTAMP '2024-01-01' AS started_at"),
        ("phase_assignments", "planned_duration", "TIMESTAMP '2024-01-01' AS start_date"),
    ],
)
def test_text_in_a_role_of_another_type_is_refused_by_its_column(
    write: Callable[..., Path],
    duck: duckdb.DuckDBPyConnection,
    settings_for: Callable[..., Settings],
    table: str,
    column: str,
    rest: str,
) -> None:
    path = write("a.parquet", f"SELECT 'x' AS id, {rest}, 'soon' AS {column}")

    with pytest.raises(SourceError, match=rf"{path}: the \w+ column '{column}' has type VARCHAR"):
        find_files(duck, settings_for(**{f"{table}_parquet": str(path)}))
