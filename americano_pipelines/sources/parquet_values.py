"""Find damage and too fine instants that only a file's values show."""

# DuckDB 1.5 looks at no page checksum, and cuts nanoseconds off where it has no type for them (a time, an instant with
# zone, INT96). PyArrow finds both. Read only files that carry checksums or such columns, column by column in small
# batches, which are dropped at once.

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from americano_pipelines.errors import REMEDIES, SourceError, TransientSourceError, system_words

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


_BATCH_BYTES = 8_000_000
_BUFFER_BYTES = 1_000_000
_MAX_BATCH_ROWS = 65_536
_NANOSECONDS_PER_MICROSECOND = 1000
# A page header in Thrift's compact form: 4 is the field of the checksum, 5 and 6 are its types of whole numbers.
_CHECKSUM_FIELD, _HEADER_BYTES, _VARINTS, _INT32 = 4, 64, (4, 5, 6), 5


def check_values(path: Path, finer: Sequence[str]) -> None:
    """Read a file whole if it carries page checksums, else only the columns that may be too fine.

    Args:
        path: the file.
        finer: columns that may hold instants finer than a microsecond.

    Raises:
        SourceError: the file is damaged, or holds such instants; the message names the column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = ""
    try:
        with path.open("rb") as stream:
            metadata = pq.read_metadata(stream)
            has_checksums = _has_checksums(stream, metadata)
            if not has_checksums and not finer:
                return
            names = [field.name for field in metadata.schema.to_arrow_schema()]
            file = pq.ParquetFile(
                stream,
                metadata=metadata,
                page_checksum_verification=has_checksums,
                buffer_size=_BUFFER_BYTES,
                # A long text that repeats is held once.
                read_dictionary=[leaf.path for leaf in _leaves(metadata) if leaf.physical_type == "BYTE_ARRAY"],
            )
            for column in names if has_checksums else finer:
                for batch in file.iter_batches(_rows_per_batch(metadata, column), columns=[column], use_threads=False):
                    if column in finer and any(_is_too_fine(values) for values in batch.columns):
                        raise SourceError(
                            f"{path}: column {column!r} holds instants finer than a microsecond (or, as INT96, outside "
                            "of 1677 to 2262), which would not arrive exactly. Write it in microseconds; nothing was "
                            "published"
                        )
    except FileNotFoundError:
        raise TransientSourceError(f"{path} was removed while it was read; nothing was published") from None
    except OSError as error:
        if error.errno not in REMEDIES:
            raise SourceError(_damaged(path, column, error)) from None
        raise SourceError(f"{path} cannot be read: {system_words(error)}. Nothing was published") from None
    except pa.ArrowException as error:
        raise SourceError(_damaged(path, column, error)) from None


def _damaged(path: Path, column: str, error: Exception) -> str:
    return (
        f"{path}: {f'column {column!r} ' if column else ''}is damaged or cannot be read whole: {error}. Have the file "
        "written again; nothing was published"
    )


def _has_checksums(stream: BinaryIO, metadata: "pq.FileMetaData") -> bool:
    """Whether the first page of any column chunk carries a checksum, which the footer does not show."""
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        for index in range(group.num_columns):
            chunk = group.column(index)
            stream.seek(min(at for at in (chunk.dictionary_page_offset, chunk.data_page_offset) if at))
            if _header_has_checksum(stream.read(_HEADER_BYTES)):
                return True
    return False


def _header_has_checksum(header: bytes) -> bool:
    """Whether a page header has the checksum's field; the ones before it are whole numbers."""
    field, at = 0, 0
    while at < len(header) and header[at]:
        step, kind = header[at] >> 4, header[at] & 15
        field, at = field + step, at + 1
        if not step or kind not in _VARINTS or field >= _CHECKSUM_FIELD:
            return field == _CHECKSUM_FIELD and kind == _INT32
        while at < len(header) and header[at] & 128:
            at += 1
        at += 1
    return False


def _leaves(metadata: "pq.FileMetaData") -> "Iterator[pq.ColumnSchema]":
    for index in range(metadata.num_columns):
        yield metadata.schema.column(index)


def _rows_per_batch(metadata: "pq.FileMetaData", column: str) -> int:
    """Rows in a batch of some MB, by the sizes in the footer."""
    size = rows = 1
    for number in range(metadata.num_row_groups):
        group = metadata.row_group(number)
        rows += group.num_rows
        chunks = (group.column(index) for index in range(group.num_columns))
        size += sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if chunk.path_in_schema == column or chunk.path_in_schema.startswith(f"{column}.")
        )
    return max(1, min(_MAX_BATCH_ROWS, _BATCH_BYTES * rows // size))


def _is_too_fine(values: "pa.Array[Any]") -> bool:
    """Whether any instant or time in an array, at whatever depth, has a part of a microsecond."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = values.type
    if (pa.types.is_timestamp(kind) or pa.types.is_time64(kind)) and kind.unit == "ns":
        numbers = values.cast(pa.int64())
        whole = pc.multiply(pc.divide(numbers, _NANOSECONDS_PER_MICROSECOND), _NANOSECONDS_PER_MICROSECOND)
        return bool(pc.any(pc.not_equal(numbers, whole)).as_py())
    return any(_is_too_fine(part) for part in _parts(values))


def _parts(values: "pa.Array[Any]") -> Iterator["pa.Array[Any]"]:
    import pyarrow as pa

    if isinstance(values, pa.StructArray):
        yield from values.flatten()
    elif isinstance(values, pa.MapArray):
        yield from (values.keys, values.items)
    elif isinstance(values, pa.ListArray | pa.LargeListArray | pa.FixedSizeListArray):
        yield values.flatten()
