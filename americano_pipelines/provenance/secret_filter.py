"""Withhold lines that look like a secret from recorded text, and count them.

A line withheld without need costs a reader one line of a patch; a line that is missed shows a password to a whole team.
So a word such as `password` beside a value is enough.
"""

import re

_WORD = r"(?:passw(?:or)?d|passphrase|pwd|secret|token|credential|api_?-?key|access_?-?key|private_?-?key|signature)"
_LITERAL = r"(?:\"[^\"]+\"|'[^']+')"
_SECRET = (
    # password = ..., "api_key": ..., --token=...
    re.compile(rf"{_WORD}\w*[\"']?\]?\s*(?:[:=]|=>)\s*[^\s=]", re.IGNORECASE),
    # ALTER ROLE x PASSWORD '...', login(user, "...")  # password
    re.compile(rf"{_WORD}.*{_LITERAL}|{_LITERAL}.*{_WORD}", re.IGNORECASE),
    re.compile(r"\b(?:authorization|bearer|basic)\b.*[A-Za-z0-9+/_=-]{8,}", re.IGNORECASE),
    # An address with a user's password, or with a token as the user.
    re.compile(r"://[^/\s@\"']+@"),
    re.compile(r"\b(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|sk-|hf_|npm_|pypi-|AKIA|ASIA|AIza|eyJ)[A-Za-z0-9_-]{8,}"),
    # Keys and tokens of any kind: long hexadecimal numbers, and long words with digits and both cases.
    re.compile(r"\b[0-9a-fA-F]{32,}\b"),
    re.compile(
        r"(?<![A-Za-z0-9+/_=-])(?=[A-Za-z0-9+/_=-]*\d)(?=[A-Za-z0-9+/_=-]*[a-z])(?=[A-Za-z0-9+/_=-]*[A-Z])"
        r"[A-Za-z0-9+/_=-]{24,}"
    ),
    # A line of a key whose first line is missing from the text.
    re.compile(r"^[-+ ]?\s*[A-Za-z0-9+/]{48,}={0,2}\s*$"),
)
_ADDRESS = _SECRET[3]
# The value may be on the lines that follow.
_OPEN = re.compile(rf"{_WORD}\w*[\"']?\]?\s*(?:[:=]|=>)?.*[=(\[{{\\:,]\s*$", re.IGNORECASE)
_VALUE = re.compile(r"[\"']")
_KEY_BEGIN, _KEY_END = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY"), re.compile("-----END [A-Z ]*PRIVATE KEY")
_HUNK = re.compile(r"(@@ -\S+ \+\S+ @@).*")
_WITHHELD = "(withheld: looks like a secret)"


def without_secrets(patch: str) -> tuple[str, int]:
    """A patch without the lines that look like secrets, and the number of lines withheld.

    File names and line numbers of its parts remain.
    """
    lines, count = [], 0
    in_key = follows = False
    for line in patch.splitlines():
        if hunk := _HUNK.match(line):
            in_key = follows = False
            lines.append(hunk[1])  # the rest of the line quotes the file
            continue
        if line.startswith(("diff --git ", "index ", "--- a/", "+++ b/", "--- /dev/null", "+++ /dev/null")):
            in_key = follows = False
            lines.append(line)
            continue
        in_key = in_key or _KEY_BEGIN.search(line) is not None
        if in_key or (follows and _VALUE.search(line)) or _looks_secret(line):
            lines.append(f"{line[0] if line[:1] in {'+', '-'} else ' '}{_WITHHELD}")
            count += 1
        else:
            lines.append(line)
        follows = _OPEN.search(line) is not None or (follows and _VALUE.search(line) is not None)
        in_key = in_key and _KEY_END.search(line) is None
    return "".join(f"{line}\n" for line in lines), count


def without_addresses(text: str) -> tuple[str, int]:
    """A text without the lines that have an address with a password or token, and the number of lines withheld."""
    lines = text.splitlines()
    kept = [_WITHHELD if _ADDRESS.search(line) else line for line in lines]
    count = sum(kept_line is not other for kept_line, other in zip(kept, lines, strict=True))
    return ("".join(f"{line}\n" for line in kept) if count else text), count


def _looks_secret(line: str) -> bool:
    return any(pattern.search(line) for pattern in _SECRET)
