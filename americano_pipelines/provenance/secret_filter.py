"""Withhold lines that look like a secret from recorded text, and count them."""

# A line too many costs a reader one line of a patch; a line too few puts a password where a whole team reads. So a
# name such as `password` beside a value is enough. Names that ordinary code has too, such as `key`, need a literal
# value.

import math
import re
from collections import Counter

# Names of nothing but secrets, also within longer names.
_CREDENTIAL_NAME = (
    r"(?:passw(?:or)?[dt]|passphrase|passcode|kennwort|(?<![a-z])passe(?![a-z])|pwd|secret|token|credential|cookie"
    r"|(?<![a-z])jwt|api_?-?key|access_?-?key|private_?-?key|signature)"
)
# Names that may be of something else: whole words of a name (`DB_PASS`, `dbKey`), or its end (`PGPASS`).
_AMBIGUOUS_NAME = (
    r"(?:(?<![A-Za-z])(?i:pw|key|auth|creds|sig|pin|otp|salt|webhook)|(?<=[a-z0-9])(?:Pw|Key|Auth|Creds|Sig|Pin|Salt)"
    r"|(?<!by)(?<!com)(?i:pass))(?![a-z])\d*"
)
_LITERAL = r"(?:\"[^\"]+\"|'[^']+')"
_PREFIX = r"[rbfuRBFU]{0,2}"
_ASSIGNMENT = r"[\"']?\]?\s*(?::\s*[\w\[\], |]+=|[:=!]=*|=>)\s*"
# An address with a user's password or with a token for a user.
_ADDRESS = re.compile(r"://[^/\s@\"']+@")
_SECRET = (
    # password = ..., "api_key": ..., --token=...
    re.compile(rf"{_CREDENTIAL_NAME}\w*[\"']?\]?\s*(?:[:=]|=>)\s*[^\s=]", re.IGNORECASE),
    # ALTER ROLE x PASSWORD '...', login(user, "...")  # password
    re.compile(rf"{_CREDENTIAL_NAME}.*{_LITERAL}|{_LITERAL}.*{_CREDENTIAL_NAME}", re.IGNORECASE),
    # pw = "...", auth = (user, "..."), key: b"...", pin = 4711
    re.compile(rf"{_AMBIGUOUS_NAME}{_ASSIGNMENT}(?:[\w.]*[(\[{{].*?)?(?:{_PREFIX}{_LITERAL}|\d{{3,}}\b)"),
    # DB_PASS=..., as a shell has it
    re.compile(rf"(?=\b[A-Z_0-9]+=)\w*?{_AMBIGUOUS_NAME}=[^\s=]"),
    # connect("db", "root", "..."): a password without its name
    re.compile(rf"(?:connect|log_?in|sign_?in|auth\w*)\(.*{_LITERAL}\s*,\s*{_LITERAL}", re.IGNORECASE),
    re.compile(r"\bidentified\s+(?:with\s+\S+\s+)?by\b", re.IGNORECASE),
    re.compile(rf"\bauthorization\b.*(?:{_LITERAL}|[A-Za-z0-9+/_=-]{{8,}})", re.IGNORECASE),
    re.compile(r"\b(?:[Bb]earer|[Bb]asic|[Dd]igest|BEARER|BASIC)\s+(?=\S*[A-Z0-9=])[A-Za-z0-9+/._~=-]{4,}"),
    _ADDRESS,
    # A user with a password before a host, without a scheme.
    re.compile(r"(?<![\w:])[\w.+-]+:[^\s@:/\"'(){}\[\]]+@\w"),
    # ?sv=1&sig=..., https://hooks.example.com/services/...
    re.compile(r"[?&;](?:\w*[-_.])?(?:sig|signature|token|key|code|auth|pass|pwd?)=[^&\s\"']", re.IGNORECASE),
    re.compile(r"://[^\s\"']*hooks?\b[^\s\"']*/[A-Za-z0-9_-]{8,}", re.IGNORECASE),
    re.compile(
        r"\b(?:gh[a-z]_|github_pat_|glpat-|xox[a-z]-|[sprw]k[-_]|hf_|npm_|pypi-|SG\.|AKIA|ASIA|AIza|ya29\.|eyJ)"
        r"[A-Za-z0-9_-]{8,}"
    ),
    # Keys and tokens of any make: long hexadecimal numbers, and long words with digits and both cases.
    re.compile(r"\b[0-9a-fA-F]{32,}\b"),
    re.compile(
        r"(?<![A-Za-z0-9+/_=-])(?=[A-Za-z0-9+/_=-]*\d)(?=[A-Za-z0-9+/_=-]*[a-z])(?=[A-Za-z0-9+/_=-]*[A-Z])"
        r"[A-Za-z0-9+/_=-]{24,}"
    ),
    # A line of a key whose first line is missing from the text.
    re.compile(r"^[-+ ]?\s*[A-Za-z0-9+/]{48,}={0,2}\s*$"),
)
# Letters and digits as a generator mixes them: random 16-character words rarely have fewer bits per character;
# identifiers with a number usually do.
_WORD, _RANDOM_BITS = re.compile(r"(?<!\w)[A-Za-z0-9]{16,}(?!\w)"), 3.4
# Its value may stand on the lines that follow.
_VALUE_ON_NEXT_LINE = re.compile(
    rf"(?i:{_CREDENTIAL_NAME})\w*[\"']?\]?\s*(?:[:=]|=>)?.*[=(\[{{\\:,]\s*$|{_AMBIGUOUS_NAME}{_ASSIGNMENT}[(\[{{\\]?\s*$"
)
_VALUE = re.compile(r"[\"']")
_TEXT_BEGIN = re.compile(rf"(?:(?i:{_CREDENTIAL_NAME})\w*|{_AMBIGUOUS_NAME}){_ASSIGNMENT}\(?\s*{_PREFIX}(\"\"\"|''')")
_KEY_BEGIN, _KEY_END = re.compile("-----BEGIN [A-Z ]*PRIVATE KEY"), re.compile("-----END [A-Z ]*PRIVATE KEY")
_HUNK = re.compile(r"(@@ -\S+ \+\S+ @@).*")
_WITHHELD = "(withheld: looks like a secret)"


def without_secrets(patch: str) -> tuple[str, int]:
    """A patch without the lines that look like secrets, and the number of lines withheld.

    File names and line numbers of its parts remain.
    """
    lines, count = [], 0
    in_key = follows = False
    text_end = None
    for line in patch.splitlines():
        if hunk := _HUNK.match(line):
            in_key, follows, text_end = False, False, None
            lines.append(hunk[1])  # what follows it is a line of the file
            continue
        if line.startswith(("diff --git ", "index ", "--- a/", "+++ b/", "--- /dev/null", "+++ /dev/null")):
            in_key, follows, text_end = False, False, None
            lines.append(line)
            continue
        in_key = in_key or _KEY_BEGIN.search(line) is not None
        in_text, after = text_end is not None, line
        if text_end is None and (begin := _TEXT_BEGIN.search(line)):
            in_text, text_end, after = True, begin[1], line[begin.end() :]
        if text_end is not None and text_end in after:
            text_end = None
        if in_key or in_text or (follows and _VALUE.search(line)) or _looks_secret(line):
            lines.append(f"{line[0] if line[:1] in {'+', '-'} else ' '}{_WITHHELD}")
            count += 1
        else:
            lines.append(line)
        follows = _VALUE_ON_NEXT_LINE.search(line) is not None or (follows and _VALUE.search(line) is not None)
        in_key = in_key and _KEY_END.search(line) is None
    return "".join(f"{line}\n" for line in lines), count


def without_addresses(text: str) -> tuple[str, int]:
    """A text without the lines that have an address with a password or token, and the number of lines withheld."""
    lines = text.splitlines()
    kept = [_WITHHELD if _ADDRESS.search(line) else line for line in lines]
    count = sum(kept_line is not other for kept_line, other in zip(kept, lines, strict=True))
    return ("".join(f"{line}\n" for line in kept) if count else text), count


def _looks_secret(line: str) -> bool:
    return any(pattern.search(line) for pattern in _SECRET) or any(map(_is_random, _WORD.findall(line)))


def _is_random(word: str) -> bool:
    shares = [count / len(word) for count in Counter(word).values()]
    bits = -sum(share * math.log2(share) for share in shares)
    return bits >= _RANDOM_BITS and not word.isalpha() and not word.isdigit()
