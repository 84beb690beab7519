"""Write rows as JSON, CSV, Arrow or Parquet, batch by batch."""

import io
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from americano_pipelines.serving.answer_tables import Column
from americano_pipelines.serving.problem_details import Problem

# DuckDB's infinite timestamps, in microseconds.
_INFINITY = 2**63 - 1
# A cell that begins like this is a formula to Excel.
_FORMULA = r"^([=+\-@\t\r\n])"
_ROW_GROUP = 50_000


class Format(StrEnum):
    """The format of an answer; the value is the suffix of a path."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


MEDIA_TYPES = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv",
    Format.ARROW: "application/vnd.apache.arrow.stream",
    Format.PARQUET: "application/vnd.apache.parquet",
}


def negotiated(accept: str | None) -> Format:
    """The format that a header Accept prefers; JSON without one.

    Raises:
        Problem: 406, it names none of the formats.
    """
    wishes = []
    for position, part in enumerate((accept or "*/*").split(",")):
        media_type, *parameters = (text.strip().lower() for text in part.split(";"))
        quality = next((text[2:] for text in parameters if text.startswith("q=")), "1")
        try:
            wishes.append((-float(quality), position, media_type))
        except ValueError:
            continue
    for negative, _, wish in sorted(wishes):
        if negative < 0:
            for format_, media_type in MEDIA_TYPES.items():
                if wish in {media_type, "*/*", f"{media_type.partition('/')[0]}/*"}:
                    return format_
    raise Problem(406, "not-acceptable", f"the formats are {', '.join(MEDIA_TYPES.values())}")


class Encoder(Protocol):
    """Write an answer in parts."""

    def begin(self, schema: pa.Schema) -> bytes:
        """What comes before the rows."""

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Some rows; it may hold them back until there are more."""

    def end(self, next_page: str | None) -> bytes:
        """What comes after the rows."""


class JsonEncoder:
    """`{"snapshot": ..., "instant": ..., "rows": [{...}], "next": ...}`; undefined numbers are null."""

    def __init__(self, columns: Mapping[str, Column], head: Mapping[str, str]) -> None:
        self._columns, self._head, self._separator = columns, head, b""

    def begin(self, _schema: pa.Schema) -> bytes:
        """The head."""
        return orjson.dumps(dict(self._head))[:-1] + b',"rows":['

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Objects, separated by commas."""
        if not batch.num_rows:
            return b""
        names = batch.schema.names
        values = [self._values(name, column) for name, column in zip(names, batch.columns, strict=True)]
        objects = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
        text = self._separator + orjson.dumps(objects)[1:-1]
        self._separator = b","
        return text

    def _values(self, name: str, column: "pa.Array[Any]") -> list[Any]:
        if pa.types.is_timestamp(column.type):
            return _timestamp_texts(column, "%Y-%m-%dT%H:%M:%S", "Z").to_pylist()
        values = column.to_pylist()
        return [_parsed(value) for value in values] if self._columns[name].kind == "json" else values

    def end(self, next_page: str | None) -> bytes:
        """The address of the next page."""
        return b'],"next":' + orjson.dumps(next_page) + b"}\n"


class CsvEncoder:
    """CSV as Excel opens it: UTF-8 with a byte order mark, and a `'` before texts that it would take for formulas."""

    def __init__(self) -> None:
        self._names: list[str] = []

    def begin(self, schema: pa.Schema) -> bytes:
        """The names of the columns."""
        return "\ufeff".encode() + b",".join(b'"' + name.encode() + b'"' for name in schema.names) + b"\n"

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """Lines."""
        columns = [_cells(column) for column in batch.columns]
        sink = io.BytesIO()
        options = pa.csv.WriteOptions(include_header=False)
        pa.csv.write_csv(pa.RecordBatch.from_arrays(columns, names=batch.schema.names), sink, options)
        return sink.getvalue()

    def end(self, _next_page: str | None) -> bytes:
        """Nothing."""
        return b""


class _Drain(io.RawIOBase):
    """A file that is written and emptied in turns."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:  # noqa: ANN401 - any buffer
        part = bytes(content)
        self._parts.append(part)
        self._position += len(part)
        return len(part)

    def tell(self) -> int:
        return self._position

    def drained(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


class ArrowEncoder:
    """An Arrow IPC stream."""

    def __init__(self) -> None:
        self._drain = _Drain()
        self._writer: pa.RecordBatchStreamWriter | None = None

    def begin(self, schema: pa.Schema) -> bytes:
        """The schema."""
        self._writer = pa.ipc.new_stream(self._drain, schema)
        return self._drain.drained()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """A record batch."""
        if self._writer is not None:
            self._writer.write_batch(batch)
        return self._drain.drained()

    def end(self, _next_page: str | None) -> bytes:
        """The end of the stream."""
        if self._writer is not None:
            self._writer.close()
        return self._drain.drained()


class ParquetEncoder:
    """A Parquet file, in row groups of at least fifty thousand rows."""

    def __init__(self) -> None:
        self._drain = _Drain()
        self._writer: pq.ParquetWriter | None = None
        self._schema: pa.Schema | None = None
        self._waiting: list[pa.RecordBatch] = []

    def begin(self, schema: pa.Schema) -> bytes:
        """The first bytes of the file."""
        self._schema = schema
        self._writer = pq.ParquetWriter(pa.PythonFile(self._drain, mode="w"), schema, compression="zstd")
        return self._drain.drained()

    def rows(self, batch: pa.RecordBatch) -> bytes:
        """A row group, or nothing until there are enough rows."""
        self._waiting.append(batch)
        if sum(waiting.num_rows for waiting in self._waiting) >= _ROW_GROUP:
            self._write()
        return self._drain.drained()

    def end(self, _next_page: str | None) -> bytes:
        """The last row group and the footer."""
        self._write()
        if self._writer is not None:
            self._writer.close()
        return self._drain.drained()

    def _write(self) -> None:
        if self._writer is not None and self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting, self._schema), row_group_size=2 * _ROW_GROUP)
            self._waiting = []


def encoder(format_: Format, columns: Mapping[str, Column], head: Mapping[str, str]) -> Encoder:
    """An encoder for one answer.

    Args:
        format_: the format.
        columns: the columns of the table.
        head: what JSON says before the rows.
    """
    match format_:
        case Format.JSON:
            return JsonEncoder(columns, head)
        case Format.CSV:
            return CsvEncoder()
        case Format.ARROW:
            return ArrowEncoder()
        case Format.PARQUET:
            return ParquetEncoder()


def _cells(column: "pa.Array[Any]") -> "pa.Array[Any]":
    if pa.types.is_timestamp(column.type):
        return _timestamp_texts(column, "%Y-%m-%d %H:%M:%S", "")
    if pa.types.is_string(column.type):
        return pc.replace_substring_regex(column, _FORMULA, r"'\1")
    return column


def _timestamp_texts(column: "pa.Array[Any]", pattern: str, ending: str) -> "pa.Array[Any]":
    """Timestamps as texts without needless zeros; DuckDB's infinite ones as `infinity` and `-infinity`."""
    numbers = column.cast(pa.timestamp("us")).cast(pa.int64())
    positive, negative = (pc.equal(numbers, pa.scalar(sign * _INFINITY, pa.int64())) for sign in (1, -1))
    finite = pc.if_else(pc.or_(positive, negative), pa.scalar(0, pa.int64()), numbers)
    texts = pc.strftime(finite.cast(pa.timestamp("us")), format=pattern)
    texts = pc.replace_substring_regex(texts, r"\.0+$", "")
    texts = pc.replace_substring_regex(texts, r"(\.\d*[1-9])0+$", r"\1")
    texts = pc.binary_join_element_wise(texts, ending, "")
    texts = pc.if_else(positive, "infinity", pc.if_else(negative, "-infinity", texts))
    return cast("pa.Array[Any]", texts)


def _parsed(text: str | None) -> Any:  # noqa: ANN401 - JSON
    """A JSON value; DuckDB also takes texts such as NaN for JSON, which stay texts."""
    if text is None:
        return None
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
