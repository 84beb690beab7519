"""Escape the app's text for a terminal, a page of Dagster's or a spreadsheet. Write ages and sizes for people."""

# Names, labels and ids are typed by people. Each kind of output has characters that it acts on; here they become
# characters that are read. HTML is escaped where it is written, with `html.escape`.

import json
import re
from datetime import datetime, timedelta

# Control characters (C0, DEL, C1) but tab and line feed; separators of lines and paragraphs; marks and overrides of
# writing direction; byte order mark; invisible tags; halves of characters, which no output can encode.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_LINES = {"\n": "\\n", "\t": "\\t"}
# What Markdown acts on within a line. Dagster's UI makes links of bare addresses too, escaped or not.
_MARKDOWN = re.compile(r"[\\`*\[\]<>&|~$@^]|://|www\.|(?<!\w)_|_(?!\w)", re.IGNORECASE)
# ASCII punctuation that CommonMark or its tables act on within a line; an underscore inside a word is none.
_COMMON_MARK = re.compile(r"[\\`*\[\]<>&|~$#]|(?<!\w)_|_(?!\w)|!(?=\[)")
_KILO = 1000
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def visible(text: str) -> str:
    r"""Text with its control characters shown as escapes (`\x1b`); tabs and line ends stay."""
    return _HIDDEN.sub(lambda match: _escape(match[0]), text)


def one_line(text: str) -> str:
    """The same on one line: tabs and line ends are escapes as well."""
    return "".join(_LINES.get(character, character) for character in visible(text))


def json_text(value: object) -> str:
    """JSON for a terminal or a program: what `visible` shows as escapes is an escape of JSON."""
    text = json.dumps(value, indent=2, default=str, ensure_ascii=False)
    return _HIDDEN.sub(lambda match: json.dumps(match[0])[1:-1].replace("\x7f", "\\u007f"), text)


def markdown(text: str) -> str:
    """Text within a line or cell of Markdown: plain where nothing in it is Markdown, code where something is."""
    line = one_line(text)
    if not _MARKDOWN.search(line):
        return line
    fence = "`" * (_longest_run(line) + 1)
    # A space at both ends is no part of the code, and keeps a backtick of the text off the fence.
    return f"{fence} {line} {fence}".replace("|", "\\|")


def markdown_block(text: str, language: str) -> str:
    """Lines of code in Markdown, whatever is in them."""
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}{language}\n{visible(text)}\n{fence}"


def common_mark(text: str) -> str:
    """Text within a paragraph or cell of a Markdown file: what Markdown would act on has a backslash before it."""
    return _COMMON_MARK.sub(r"\\\g<0>", one_line(text))


def age_text(moment: datetime, present: datetime) -> str:
    """How long ago a time was, such as `3 hours`."""
    seconds = max(timedelta(), present - moment).total_seconds()
    for unit, name in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= unit:
            number = int(seconds // unit)
            return f"{number} {name}{'' if number == 1 else 's'}"
    return "less than a minute"


def size_text(size: int) -> str:
    """A number of bytes for people, such as `1.3 GB`."""
    value, units = float(size), ["B", "kB", "MB", "GB", "TB"]
    while value >= _KILO and len(units) > 1:
        value /= _KILO
        units.pop(0)
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.1f} {units[0]}"


def csv_cell(text: str) -> str:
    """A cell of text that no spreadsheet takes for a formula: one that begins like it gets an apostrophe before it."""
    cell = visible(text)
    return f"'{cell}" if text.lstrip().startswith(_FORMULA) or text[:1] in ("\t", "\r", "\n") else cell


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"  # noqa: PLR2004 - the forms of Python's escapes
