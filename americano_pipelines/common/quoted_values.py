"""Leave the values of rows out of messages of Postgres and DuckDB: Dagster keeps them when the rows are erased."""

import re

# What Postgres adds to a message: details and the place in a JSON text quote the row.
_DETAIL_LINES = re.compile(r"\s*\b(?:DETAIL|CONTEXT|HINT|QUERY|WHERE):\s.*", re.DOTALL)
# From the first quote to the last, because a value may hold quotes too.
_QUOTED = (re.compile(r'".*"', re.DOTALL), re.compile(r"'.*'", re.DOTALL))
# Here the quotes hold the names of encodings, and no value.
_ENCODING = re.compile(r"\bencoding \"")
_LAST_QUOTATION = re.compile(r': ".*"', re.DOTALL)
# A quote ends at the next of its kind; an apostrophe within a word begins none.
_QUOTATION = re.compile(r"""\"(?:[^\"]|\"\")*\"|(?<!\w)'(?:[^']|'')*'|[«»][^«»]*[«»]""")
_BYTES = re.compile(r"(?:\b0x[0-9a-f]{2}\b ?)+")


def redact_values(message: str) -> str:
    """A message about a value without the value: `invalid input syntax for type uuid: "***"`."""
    text = _DETAIL_LINES.sub("", message)
    if _ENCODING.search(text):
        return _BYTES.sub("*** ", text).strip()
    for quoted in _QUOTED:
        text = quoted.sub(lambda match: f"{match[0][0]}***{match[0][0]}", text)
    return text


def without_last_quotation(message: str) -> str:
    """A message of unknown meaning without what it quotes at its end, which is a value where a function raised it."""
    return _LAST_QUOTATION.sub(': "***"', _DETAIL_LINES.sub("", message))


def outside_quotes(message: str) -> str:
    """The words of a message without names and values: a column may be called "timed out"."""
    return _QUOTATION.sub(" ", message)
