"""Files of other programs: drifting names and types, folders, tables with a log, damage. Read exactly or refused."""

import os
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from americano_pipelines.errors import ConfigError, SourceError, TransientSourceError
from americano_pipelines.sources.parquet_files import FileTable
from americano_pipelines.sources.parquet_values import check_values
from americano_pipelines.sources.path_expansion import expand

TIME = datetime(2024, 3, 1, 12)  # noqa: DTZ001 - such files say nothing of zones
Find = Callable[..., FileTable]
Rows = Callable[[FileTable], list[dict[str, Any]]]


@pytest.fixture
def rows(duck: duckdb.DuckDBPyConnection) -> Rows:
    def rows(table: FileTable) -> list[dict[str, Any]]:
        cursor = duck.execute(f"SELECT * FROM {table.relation} ORDER BY 1", table.parameters)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    return rows


def write(path: Path, columns: Any = None, **options: Any) -> Path:
    """A file with an id and a time, and these columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table({"id": [path.stem], "ts": [TIME], **(columns or {})})
    pq.write_table(table, path, **options)
    return path


# A role that several columns can play


def test_a_column_that_was_renamed_plays_its_role_under_either_name(folder: Path, find: Find, rows: Rows) -> None:
    write(folder / "1.parquet", {"student_id": ["s"], "phase_name": ["A"]})
    write(folder / "2.parquet", {"USERID": ["u"], "phase": ["B"]})
    write(folder / "3.parquet", {"learner_id ": ["l"], "phase": ["C"]})

    table = find()

    assert dict(table.roles) == {"id": "id", "time": "ts", "learner": "learner_id ", "phase": "phase"}
    assert [(row["learner_id "], row["phase"]) for row in rows(table)] == [("s", "A"), ("u", "B"), ("l", "C")]


def test_files_that_differ_in_the_column_of_a_role_are_refused(folder: Path, find: Find) -> None:
    both = write(folder / "1.parquet", {"user_id": ["u"], "learner_id": ["l"]})
    old = write(folder / "2.parquet", {"user_id": ["u"]})

    with pytest.raises(SourceError) as refused:
        find()

    assert all(name in str(refused.value) for name in ("'learner_id' or 'user_id'", str(both), str(old)))
    assert find(americano_columns={"behavioral_events.learner": "user_id"}).roles["learner"] == "user_id"


def test_a_file_without_a_learner_or_the_column_of_a_setting_is_refused(folder: Path, find: Find) -> None:
    write(folder / "1.parquet", {"pupil": ["p"]})
    other = write(folder / "2.parquet", {"user_id": ["u"]})

    with pytest.raises(SourceError, match=r"1\.parquet has no learner column .*2\.parquet has 'user_id'"):
        find()
    with pytest.raises(ConfigError, match=rf"learner is set to 'pupil', but {other} has"):
        find(americano_columns={"behavioral_events.learner": "pupil"})


# Names


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["id", "ts", "Note", "note"], r"'Note' and 'note'"),
        (["id", "ts", "note", "note"], r"'note' and 'note'"),
        (["id", "ts", ""], r"without a name"),
        (["id", "ts", "  "], r"without a name"),
    ],
)
def test_names_that_duckdb_would_change_are_refused_by_file(
    folder: Path, find: Find, names: list[str], message: str
) -> None:
    values = [pa.array(["e"]), pa.array([TIME]), pa.array(["x"]), pa.array(["y"])][: len(names)]
    path = write(folder / "1.parquet", pa.table(values, names=names))

    with pytest.raises(SourceError, match=rf"{path}: .*{message}"):
        find()


def test_fields_that_differ_only_in_case_are_refused_at_any_depth(folder: Path, find: Find) -> None:
    path = write(folder / "1.parquet", {"extra": [[{"a": {"b": 1, "B": 2}}]]})

    with pytest.raises(SourceError, match=rf"{path}: the fields of column 'a', 'b' and 'B'"):
        find()


# Types


@pytest.mark.parametrize(
    "values",
    [
        pa.array([Decimal("1.5")], pa.decimal256(39, 2)),
        pa.array([[Decimal("1.5")]], pa.list_(pa.decimal256(76, 2))),
        pa.array([{"a": Decimal("1.5")}], pa.struct([("a", pa.decimal256(40, 2))])),
        pa.array([], pa.decimal256(39, 2)),
    ],
)
def test_decimals_that_duckdb_cannot_hold_are_refused_by_column(folder: Path, find: Find, values: Any) -> None:
    columns = {"id": ["e"][: len(values)], "ts": pa.array([TIME][: len(values)], pa.timestamp("us")), "score": values}
    path = write(folder / "1.parquet", pa.table(columns))

    with pytest.raises(SourceError, match=rf"{path}: column 'score' is a decimal of \d\d digits"):
        find()


EXACT = {
    "uint64": (pa.array([2**64 - 1], pa.uint64()), 2**64 - 1),
    "decimal": (pa.array([Decimal("-" + "9" * 36 + ".25")], pa.decimal128(38, 2)), Decimal("-" + "9" * 36 + ".25")),
    "date": (pa.array([date(1, 1, 1)]), date(1, 1, 1)),
    "milliseconds": (pa.array([TIME], pa.timestamp("ms")), TIME),
    "float16": (pa.array([1.5], pa.float32()).cast(pa.float16()), 1.5),
    "list": (pa.array([[1, None]]), [1, None]),
    "bytes": (pa.array([b"\xff\0"]), b"\xff\0"),
}


@pytest.mark.parametrize("kind", EXACT)
def test_types_of_parquet_arrive_exactly(folder: Path, find: Find, rows: Rows, kind: str) -> None:
    values, expected = EXACT[kind]
    write(folder / "1.parquet", {"extra": values})

    assert [row["extra"] for row in rows(find())] == [expected]


FINER = {
    "zone": pa.timestamp("ns", "UTC"),
    "time": pa.time64("ns"),
    "list": pa.list_(pa.timestamp("ns", "UTC")),
    "struct": pa.struct([("at", pa.time64("ns"))]),
    "int96": pa.timestamp("ns"),
}


@pytest.mark.parametrize("kind", FINER)
def test_instants_finer_than_a_microsecond_are_refused(folder: Path, find: Find, kind: str) -> None:
    wrapped = {"list": lambda value: [value], "struct": lambda value: {"at": value}}.get(kind, lambda value: value)
    for name, nanoseconds in (("whole", 5_000), ("cut", 5_001)):
        array = pa.array([wrapped(nanoseconds)], FINER[kind])
        write(folder / f"{name}.parquet", {"at": array}, use_deprecated_int96_timestamps=kind == "int96")
    finer = find().finer
    assert set(finer) == {folder / "cut.parquet", folder / "whole.parquet"}

    check_values(folder / "whole.parquet", finer[folder / "whole.parquet"])
    with pytest.raises(SourceError, match=r"cut\.parquet: column 'at' holds instants finer than a microsecond"):
        check_values(folder / "cut.parquet", finer[folder / "cut.parquet"])


def test_columns_without_values_and_files_without_rows_agree_with_any_type(
    folder: Path, find: Find, rows: Rows
) -> None:
    write(folder / "1.parquet", {"n": [2**53 + 1], "tags": [["x"]], "s": [{"a": 1}]})
    write(folder / "2.parquet", {"n": pa.nulls(1), "tags": [[]], "s": [{"a": None}]})
    write(folder / "3.parquet", {"n": pa.array([None], pa.float64()), "tags": pa.nulls(1), "s": pa.nulls(1)})
    write(folder / "4.parquet", pa.table({"id": pa.array([], pa.float64()), "n": pa.array([], pa.string())}))

    table = find()

    assert {c.name: c.type for c in table.columns} == {
        "id": "VARCHAR", "ts": "TIMESTAMP", "n": "BIGINT", "tags": "VARCHAR[]", "s": "STRUCT(a BIGINT)",
    }  # fmt: skip
    assert [row["n"] for row in rows(table)] == [2**53 + 1, None, None]
    assert [row["tags"] for row in rows(table)] == [["x"], [], None]
    assert [row["s"] for row in rows(table)] == [{"a": 1}, {"a": None}, None]
    assert len(table.files) == 4


def test_a_field_called_null_keeps_its_name_and_values(folder: Path, find: Find, rows: Rows) -> None:
    write(folder / "1.parquet", {"s": [{"NULL": 5, "b": [{"NULL": "x"}]}], "NULL": [1]})
    write(folder / "2.parquet", {"s": [{"NULL": None, "b": []}], "NULL": pa.nulls(1)})
    write(folder / "3.parquet", {"s": [{"NULL": None, "b": None}], "NULL": pa.nulls(1)})

    table = find()

    types = {column.name: column.type for column in table.columns}
    assert types["s"] == 'STRUCT("NULL" BIGINT, b STRUCT("NULL" VARCHAR)[])'
    assert [row["NULL"] for row in rows(table)] == [1, None, None]
    assert [row["s"] for row in rows(table)] == [
        {"NULL": 5, "b": [{"NULL": "x"}]}, {"NULL": None, "b": []}, {"NULL": None, "b": None}
    ]  # fmt: skip


def test_names_that_are_the_same_only_beyond_ascii_are_two_names(folder: Path, find: Find, rows: Rows) -> None:
    write(folder / "1.parquet", {"straße": [1], "STRASSE": [2], "é": [3], "É": [4]})

    assert rows(find()) == [{"id": "1", "ts": TIME, "straße": 1, "STRASSE": 2, "é": 3, "É": 4}]


def test_a_name_that_is_not_utf_8_is_refused_as_it_is_written(folder: Path) -> None:
    write(folder / "1.parquet")
    broken = os.fsencode(folder) + b"/caf\xe9.parquet"
    os.rename(folder / "1.parquet", broken)  # noqa: PTH104 - bytes

    for place in (folder, folder / "*.parquet", Path(os.fsdecode(broken))):
        with pytest.raises(SourceError, match=r"/caf\\xe9\.parquet: the name is not UTF-8"):
            expand(place)


def test_a_link_that_gives_a_folder_a_second_value_is_refused(folder: Path) -> None:
    write(folder / "phase=1" / "a.parquet")
    (folder / "phase=1" / "circle").symlink_to(folder)
    assert len(expand(folder)) == 1
    (folder / "phase=2").symlink_to("phase=1")

    for place in (folder, folder / "*" / "*.parquet"):
        with pytest.raises(SourceError, match=r"phase=2 and .*phase=1 are the same folder"):
            expand(place)


def test_a_file_of_two_tables_is_refused_by_both_variables(folder: Path, find: Find) -> None:
    write(folder / "1.parquet")
    (folder / "linked.parquet").symlink_to(folder / "1.parquet")

    for other in ("1.parquet", "linked.parquet"):
        with pytest.raises(ConfigError, match=r"^EXPERIMENT_PROTOCOLS_PARQUET: .* BEHAVIORAL_EVENTS_PARQUET too"):
            find(folder / "1.parquet", experiment_protocols_parquet=str(folder / other))


def test_a_folder_whose_value_is_not_utf_8_is_refused(folder: Path, find: Find) -> None:
    write(folder / "k=%FF" / "a.parquet")

    with pytest.raises(SourceError, match=r"a\.parquet: its folder 'k=%FF' has percent signs"):
        find()


def test_an_empty_day_alone_is_a_table_without_rows(folder: Path, find: Find, rows: Rows) -> None:
    write(folder / "1.parquet", pa.table({"id": pa.nulls(0), "ts": pa.nulls(0), "phase": pa.nulls(0)}))

    table = find()

    assert {c.name: c.type for c in table.columns} == {"id": "VARCHAR", "ts": "TIMESTAMP", "phase": "VARCHAR"}
    assert rows(table) == []


def test_empty_files_that_differ_in_columns_are_a_table_without_rows(folder: Path, find: Find, rows: Rows) -> None:
    empty = pa.nulls(0)
    write(folder / "1.parquet", pa.table({"ts": pa.array([], pa.timestamp("us")), "id": pa.array([], pa.int64())}))
    write(folder / "2.parquet", pa.table({"id": pa.array([], pa.string()), "user_id": empty, "event_time": empty}))
    write(folder / "day=3" / "3.parquet", pa.table({"happened": pa.array([], pa.string())}))

    table = find()

    assert [column.name for column in table.columns] == ["id", "user_id", "event_time"]
    assert rows(table) == []
    assert len(table.files) == 3


NESTED = {
    "list": pa.array([["u"]]),
    "struct": pa.array([{"id": "u"}]),
    "map": pa.array([[("k", "u")]], pa.map_(pa.string(), pa.string())),
    "list of bytes": pa.array([[b"u"]]),
    "fixed list": pa.array([["u"]], pa.list_(pa.string(), 1)),
    "list of structs": pa.array([[{"id": "u"}]]),
}


@pytest.mark.parametrize("role", ["user_id", "event_id", "experiment_id", "phase", "event_type"])
@pytest.mark.parametrize("kind", NESTED)
def test_a_column_of_several_values_plays_no_role_of_one(folder: Path, find: Find, kind: str, role: str) -> None:
    columns = {"ts": [TIME], role: NESTED[kind]}
    path = write(folder / "1.parquet", pa.table(columns))

    with pytest.raises(SourceError, match=rf"{path}: the \w+ column '{role}' has type .*; it must be a single value"):
        find()


@pytest.mark.parametrize(
    ("first_type", "second_type"),
    [
        (pa.int64(), pa.float64()),
        (pa.int32(), pa.int64()),
        (pa.timestamp("us"), pa.timestamp("us", "UTC")),
        (pa.date32(), pa.timestamp("ms")),
        (pa.timestamp("ns"), pa.timestamp("us")),
    ],
)
def test_values_of_two_types_are_refused_by_both_files(
    folder: Path, find: Find, first_type: Any, second_type: Any
) -> None:
    write(
        folder / "1.parquet",
        {
            "x": pa.array([0], pa.int64()).cast(pa.int32()).cast(pa.int64()).cast(first_type)
            if not pa.types.is_date(first_type)
            else pa.array([date(2024, 1, 1)])
        },
    )
    write(folder / "2.parquet", {"x": pa.array([0], pa.int64()).cast(second_type)})

    with pytest.raises(SourceError, match=r"2\.parquet: column 'x' is .*, but .* in .*1\.parquet"):
        find()


# Folders


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["007", "7"], ["007", "7"]),
        (["7", "12"], [7, 12]),
        (["a%20b", "__HIVE_DEFAULT_PARTITION__"], ["a b", None]),
        (["2024-01-01", "2024-01-02"], [date(2024, 1, 1), date(2024, 1, 2)]),
        (["2024-1-1", "2024-01-02"], ["2024-1-1", "2024-01-02"]),
    ],
)
def test_a_folder_key_is_what_the_folder_says(
    folder: Path, find: Find, rows: Rows, values: list[str], expected: list[Any]
) -> None:
    for number, value in enumerate(values):
        write(folder / f"key={value}" / f"{number}.parquet")

    assert [row["key"] for row in rows(find())] == expected


def test_folder_keys_may_change_order_and_missing_ones_are_refused(folder: Path, find: Find, rows: Rows) -> None:
    write(folder / "user_id=u1" / "phase=A" / "1.parquet")
    write(folder / "phase=B" / "user_id=u2" / "2.parquet")
    assert [(row["user_id"], row["phase"]) for row in rows(find())] == [("u1", "A"), ("u2", "B")]

    path = write(folder / "phase=B" / "3.parquet")
    with pytest.raises(SourceError, match=rf"user_id=u2/2\.parquet .*columns phase, user_id, but {path} .* phase\."):
        find()


@pytest.mark.parametrize("name", ["k=a=b", "k=1/k=2", "k=1/K=2", "=1"])
def test_a_folder_that_is_not_one_column_and_its_value_is_refused(folder: Path, find: Find, name: str) -> None:
    write(folder / name / "1.parquet")

    with pytest.raises(SourceError, match=r"1\.parquet: its folder .* is not one column"):
        find()


MARKERS = {
    "Delta Lake": "_delta_log/00000000000000000000.json",
    "Apache Hudi": ".hoodie/hoodie.properties",
    "Apache Iceberg": "metadata/v1.metadata.json",
    "Apache Paimon": "snapshot/LATEST",
    "Lance": "_versions/1.manifest",
    "Spark streaming": "_spark_metadata/0",
}
# What lies beside the files of a part of a table, wherever that was copied to.
PARTS = {
    "Apache Hudi": ".hoodie_partition_metadata",
    "transactional Hive": "delta_0000001_0000001_0000/a.parquet",
    "transactional Hive (deleted)": "delete_delta_0000002_0000002/a.parquet",
    "transactional Hive (compacted)": "base_0000007_v0000012/a.parquet",
    "Apache Iceberg": "metadata/snap-1.avro",
}


@pytest.mark.parametrize("kind", MARKERS)
def test_a_table_with_a_log_is_refused_at_every_level_of_its_path(folder: Path, kind: str) -> None:
    table = folder / "deep" / "table"
    path = write(table / "data" / "day=1" / "a.parquet")
    (table / MARKERS[kind]).parent.mkdir()
    (table / MARKERS[kind]).touch()
    (folder / "linked").symlink_to(table / "data")

    for location in (
        table, table / "data", folder / "deep", folder / "*" / "*" / "data" / "*" / "*.parquet", path,
        folder / "linked", folder / "linked" / "*" / "*.parquet",
    ):  # fmt: skip
        with pytest.raises(SourceError, match=rf"{table} is a {kind} table"):
            expand(location)


@pytest.mark.parametrize("kind", PARTS)
def test_a_part_of_a_table_with_a_log_is_refused_by_its_kind(folder: Path, kind: str) -> None:
    path = write(folder / "part" / "a.parquet")
    sign = folder / "part" / PARTS[kind]
    sign.parent.mkdir(exist_ok=True)
    sign.write_bytes(path.read_bytes() if sign.suffix == ".parquet" else b"")

    for location in (folder, folder / "*", folder / "part" / "**" / "*.parquet"):
        with pytest.raises(SourceError, match=rf"{folder / 'part'} is a {kind.partition(' (')[0]} table"):
            expand(location)


NOTES = {
    "not committed": {"_started_1": ""},
    "not readable": {"_started_1": "", "_committed_1": "x"},
    "removed": {
        "_committed_1": '{"added": ["a.parquet"], "removed": []}',
        "_committed_2": '{"added": [], "removed": ["a.parquet"]}',
    },
    "written by nobody": {"_committed_1": '{"added": ["b.parquet"], "removed": []}'},
}


@pytest.mark.parametrize("notes", NOTES.values(), ids=NOTES)
def test_files_of_databricks_that_no_job_committed_are_refused(folder: Path, notes: dict[str, str]) -> None:
    path = write(folder / "a.parquet")
    for name, text in notes.items():
        (folder / name).write_text(text)

    for location in (folder, folder / "*.parquet", path):
        with pytest.raises(SourceError, match=rf"{folder} is a Databricks table \(_"):
            expand(location)


def test_files_of_databricks_that_a_job_committed_are_read(folder: Path) -> None:
    path = write(folder / "a.parquet")
    (folder / "_started_1").touch()
    (folder / "_committed_1").write_text('{"added": ["a.parquet"], "removed": ["before.parquet"]}')

    assert expand(folder) == [path]


def test_other_endings_are_read_and_no_parquet_is_left_out_silently(folder: Path) -> None:
    names = ["1.parquet", "2.PARQ", "3.pq", "4.snappy.Parquet", "5.pqt"]
    for name in names:
        write(folder / "events" / name)
    (folder / "events" / "notes.txt").write_text("PAR1 is only the beginning")
    (folder / "events" / "6.parquet.tmp").write_bytes(b"PAR1 begun, not ended")
    assert [path.name for path in expand(folder)] == names
    assert [path.name for path in expand(folder / "*")] == names

    for name in ("7.parquet.bak", "part-00000", "8.dat", "9.parquet.gz"):
        other = folder / "events" / name
        other.write_bytes(b"\x1f\x8b" if name.endswith(".gz") else (folder / "events" / names[0]).read_bytes())
        for location in (folder, folder / "*"):
            with pytest.raises(TransientSourceError, match=rf"{other} holds Parquet, but .* \.parquet, \.parq, "):
                expand(location)
        other.unlink()


def test_a_folder_that_a_glob_matches_counts_with_the_files_below_it(folder: Path) -> None:
    write(folder / "1.parquet" / "part-0.PARQUET")
    write(folder / "1.parquet" / "deep" / "part-1.parquet")
    (folder / "1.parquet" / "_SUCCESS").touch()
    write(folder / "1.parquet" / "_temporary" / "part-2.parquet")
    write(folder / "2.parquet")
    write(folder / "elsewhere" / "part-3.parquet")
    (folder / "3.parquet").symlink_to(folder / "elsewhere")

    names = ["part-0.PARQUET", "part-1.parquet", "2.parquet", "part-3.parquet"]
    assert sorted(path.name for path in expand(folder / "*.parquet")) == sorted(names)


def test_what_cannot_be_looked_into_is_never_left_out_silently(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(folder / "deep" / "1.parquet")
    (folder / "gone.parquet").symlink_to(folder / "nowhere.parquet")
    for location in (folder, folder / "*.parquet", folder / "gone.parquet"):
        with pytest.raises(SourceError, match=r"gone\.parquet is a link that leads nowhere"):
            expand(location)
    (folder / "gone.parquet").unlink()

    scandir = os.scandir

    def refuse(path: Any = ".") -> Any:
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)  # root, who may run this, is refused nothing
    for location in (folder, folder / "*" / "*.parquet", folder / "**" / "*.parquet"):
        with pytest.raises(SourceError, match="deep cannot be read: Permission denied"):
            expand(location)


# Damage


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_a_file_whose_page_checksum_does_not_fit_is_refused_by_column(
    folder: Path, version: str, *, dictionary: bool
) -> None:
    columns = {"note": ["before"] * 50, "score": list(range(1_000_000, 1_000_050))}
    table = pa.table({"id": [str(number) for number in range(50)], "ts": [TIME] * 50, **columns})
    options: dict[str, Any] = {"compression": "none", "use_dictionary": dictionary, "data_page_version": version}
    path = write(folder / "1.parquet", table, write_page_checksum=True, write_statistics=False, **options)
    check_values(path, ())

    content = bytearray(path.read_bytes())
    at = content.find((1_000_007).to_bytes(8, "little"))
    content[at] ^= 0x40
    path.write_bytes(content)

    with pytest.raises(SourceError, match=r"1\.parquet: column 'score' is damaged"):
        check_values(path, ())


def test_a_file_without_checksums_is_not_read_a_second_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(folder / "1.parquet")
    monkeypatch.setattr(pq, "ParquetFile", None)

    check_values(path, ())
