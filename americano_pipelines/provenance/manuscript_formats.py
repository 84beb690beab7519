"""Write the blocks of a manuscript as Markdown, or as a file for a word processor."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

from americano_pipelines.text_output import common_mark, visible


@dataclass(frozen=True)
class Heading:
    """A heading.

    Attributes:
        text: the heading.
        level: 1 for the title.
    """

    text: str
    level: int


@dataclass(frozen=True)
class Paragraph:
    """A paragraph.

    Attributes:
        text: the paragraph.
    """

    text: str


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        header: names of the columns.
        rows: cells as text.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


Block = Heading | Paragraph | Table


def markdown(blocks: Sequence[Block]) -> str:
    """The blocks as CommonMark with tables; nothing in a text acts as Markdown."""
    return "\n\n".join(_as_markdown(block) for block in blocks) + "\n"


def _as_markdown(block: Block) -> str:
    if isinstance(block, Heading):
        return f"{'#' * block.level} {common_mark(block.text)}"
    if isinstance(block, Paragraph):
        return common_mark(block.text)
    lines = [f"| {' | '.join(block.header)} |", f"|{'---|' * len(block.header)}"]
    lines += [f"| {' | '.join(common_mark(cell) for cell in row)} |" for row in block.rows]
    return "\n".join(lines)


def word_document(blocks: Sequence[Block]) -> bytes:
    """The blocks as a file in the format Office Open XML (docx)."""
    from docx import Document

    document = Document()
    for block in blocks:
        if isinstance(block, Heading):
            document.add_heading(visible(block.text), level=block.level - 1)
        elif isinstance(block, Paragraph):
            document.add_paragraph(visible(block.text))
        else:
            table = document.add_table(rows=0, cols=len(block.header), style="Table Grid")
            for row in (block.header, *block.rows):
                for cell, text in zip(table.add_row().cells, row, strict=True):
                    cell.text = visible(text)
            # Tables that touch each other become one.
            document.add_paragraph()
    stream = io.BytesIO()
    document.save(stream)
    return stream.getvalue()
