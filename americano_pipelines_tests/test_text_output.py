"""Text of the app on its way out: what terminals, Markdown and spreadsheets act on is only read."""

import csv
import io
import json

import pytest
from markdown_it import MarkdownIt

from americano_pipelines.cli.output import Console, show_table
from americano_pipelines.errors import SourceError
from americano_pipelines.text_output import csv_cell, json_text, markdown, markdown_block, one_line, visible

NASTY = "\x1b]52;c;aGk=\x07\x1b[2J\x9b31m\u202eevil\u2066\r\x00\ud800"
LABELS = [
    "![x](http://127.0.0.1:9/a.png)",
    "[click](http://evil.example)",
    "<img src=http://evil.example>",
    "http://evil.example/a",
    "www.evil.example",
    "me@evil.example",
    "<http://evil.example>",
    "`![x](http://evil.example)`",
    "a ``b`` ![x](y)",
    "`",
    "a|b ![x](y) \\| c",
    "*bold* __strong__",
    "two\nlines ![x](y)",
    "&lt;img&gt;",
]


def test_control_characters_are_shown_and_ordinary_text_stays() -> None:
    assert visible("\x1b[31mred\x07 \x9b \u202e \ufeff") == "\\x1b[31mred\\x07 \\x9b \\u202e \\ufeff"
    assert visible("Zoë, 日本 👩‍👧\tand\nso on") == "Zoë, 日本 👩‍👧\tand\nso on"
    assert one_line("a\tb\nc") == "a\\tb\\nc"
    assert visible(NASTY).isprintable()
    assert visible("\U000e0041") == "\\U000e0041"


def test_a_terminal_gets_no_control_character_from_what_is_printed() -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=False, highlight=False, width=300)
    console.print(f"[bold]title[/] {NASTY}", soft_wrap=True)
    console.print(f"plain {NASTY} [red]", markup=False)
    show_table(console, (f"head {NASTY}",), [(f"[red]cell[/] {NASTY}\nsecond",)], title=f"table {NASTY}")

    assert {c for c in stream.getvalue() if not c.isprintable()} == {"\n"}
    assert "[red]cell[/] \\x1b]52" in stream.getvalue()
    assert "\\nsecond" in stream.getvalue()


def test_an_error_shows_the_names_in_its_message() -> None:
    assert str(SourceError("column \x1b[2Jx cannot be read")) == "column \\x1b[2Jx cannot be read"


def test_json_for_a_terminal_is_the_same_json() -> None:
    value = {NASTY: ["Zoë", NASTY, "\x7f"]}

    assert json.loads(json_text(value)) == value
    assert {c for c in json_text(value) if not c.isprintable()} == {"\n"}
    assert "Zoë" in json_text(value)


@pytest.mark.parametrize("label", LABELS)
def test_a_label_in_a_table_of_markdown_is_its_text_and_nothing_else(label: str) -> None:
    parser = MarkdownIt("commonmark", {"html": True}).enable("table")
    tokens = parser.parse(f"| label | days |\n| --- | --- |\n| {markdown(label)} | 7 |")
    cells = [token for token in tokens if token.type == "inline"]

    assert len(cells) == 4, "the row has its two cells"
    kinds = {child.type for cell in cells for child in cell.children or []}
    assert kinds <= {"text", "code_inline"}
    assert "".join(child.content for child in cells[2].children or []) == one_line(label)


@pytest.mark.parametrize("label", ["http://evil.example/a", "www.evil.example", "me@evil.example"])
def test_an_address_is_code_which_no_page_makes_a_link_of(label: str) -> None:
    assert markdown(label) == f"` {label} `"


@pytest.mark.parametrize("label", ["Baseline 1", "behavioral_events.event_id", "4.2", "(not shown)", "Übung, A-B"])
def test_an_ordinary_label_stays_as_it_is_in_markdown(label: str) -> None:
    assert markdown(label) == label


def test_a_block_of_code_ends_where_it_ends() -> None:
    tokens = MarkdownIt("commonmark").parse(markdown_block('SELECT "\n```\n![x](y)"', "sql"))

    assert [(token.type, token.content) for token in tokens] == [("fence", 'SELECT "\n```\n![x](y)"\n')]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\n=1", "\uff1d1"])
def test_a_cell_that_a_spreadsheet_would_reckon_is_quoted(text: str) -> None:
    stream = io.StringIO()
    csv.writer(stream).writerow([csv_cell(text)])
    ((cell,),) = csv.reader(io.StringIO(stream.getvalue()))

    assert cell == f"'{visible(text)}"


@pytest.mark.parametrize("text", ["Baseline 1", "a=b", "7-day", ""])
def test_another_cell_stays(text: str) -> None:
    assert csv_cell(text) == text
