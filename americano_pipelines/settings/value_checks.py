"""Check and convert the values of environment variables that have a form of their own.

Each function returns the value, or raises ValueError with words that follow the variable's name.
"""

import grp
import json
import os
import re
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from americano_pipelines.settings.postgres_url import split_table

_UNITS = {"MB": 10**6, "MiB": 2**20, "GB": 10**9, "GiB": 2**30}
# With 32MB not even 200,000 narrow rows can be loaded, with 48MB they can; above the upper bound DuckDB
# refuses the number.
_MIN_MEMORY_BYTES, _MAX_MEMORY_BYTES = 48 * 10**6, 10**15


def check_table(value: str | None) -> str | None:
    """A table of Postgres: `table` or `schema.table`."""
    if value is not None:
        split_table(value)
    return value


def check_path(value: Any) -> Any:  # noqa: ANN401 - any value of the environment or of a caller
    """A path on this machine, in UTF-8."""
    if isinstance(value, str) and ("://" in value or "\0" in value):
        raise ValueError("is an address, not a path on this machine")
    if isinstance(value, str | Path) and re.search("[\ud800-\udfff]", str(value)):
        raise ValueError("is not UTF-8")
    return value


def check_host(value: str | None) -> str | None:
    """A host name or the folder of a socket; no address, no port."""
    if value is not None and not value.startswith("/"):
        if "://" in value or "@" in value or any(map(str.isspace, value.strip())):
            raise ValueError("is not a host name; a whole address goes into DATABASE_URL")
        if re.fullmatch(r"[^:]*:\d+", value):
            raise ValueError("contains a port; set that in PG_PORT")
    return value


def check_memory(value: str) -> str:
    """An amount of memory such as 512MB, within the bounds that DuckDB can work with."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s?(MB|GB|MiB|GiB)", value)
    if match is None or float(match[1]) == 0:
        raise ValueError("is not an amount of memory")
    amount = float(match[1]) * _UNITS[match[2]]
    if not _MIN_MEMORY_BYTES <= amount <= _MAX_MEMORY_BYTES:
        raise ValueError("is out of bounds; from 48MB to 1000000GB is allowed")
    return value


def check_time_zone(value: str) -> str:
    """The name of a time zone."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("is not a known time zone") from None
    return value


def group_id(name: str) -> int:
    """The number of a group of this machine.

    Raises:
        ValueError: there is no such group, or this user is not a member.
    """
    try:
        number = grp.getgrnam(name).gr_gid
    except KeyError:
        raise ValueError(f"this machine has no group {name!r}") from None
    if os.geteuid() != 0 and number not in {os.getegid(), *os.getgroups()}:
        raise ValueError(f"this user is not in the group {name!r}, and so cannot give it files")
    return number


def check_group(value: str | None) -> str | None:
    """A group of this machine that this user is a member of."""
    if value is not None:
        group_id(value)
    return value


def check_web_address(value: str | None) -> str | None:
    """An address that begins with http:// or https://."""
    if value is not None and not re.fullmatch(r"https?://[^\s/]+\S*", value):
        raise ValueError("is no web address")
    return value


def check_orcid(value: str | None) -> str | None:
    """The address of an ORCID, with its check digit."""
    if value is None:
        return None
    match = re.fullmatch(r"https://orcid\.org/((?:\d{4}-){3}\d{3}[\dX])", value)
    if match is None:
        raise ValueError("is no address of an ORCID")
    digits, total = match[1].replace("-", ""), 0
    for digit in digits[:-1]:
        total = (total + int(digit)) * 2 % 11
    # ISO 7064, MOD 11-2: the last digit is a check of the others.
    if digits[-1] != "0123456789X"[(12 - total) % 11]:
        raise ValueError("is no ORCID: its last digit does not fit the others")
    return value


def parse_mapping(value: Any) -> Any:  # noqa: ANN401 - any value of the environment or of a caller
    """A JSON object of role to column."""
    if not isinstance(value, str):
        return value
    try:
        columns = json.loads(value)
    except ValueError:
        raise ValueError("is not JSON") from None
    if isinstance(columns, dict) and (blank := [role for role, name in columns.items() if not str(name).strip()]):
        raise ValueError(f"names no column for {', '.join(blank)}")
    return columns


def check_host_names(value: str) -> str:
    """Host names, separated by commas."""
    if odd := next(
        (name for name in value.split(",") if not re.fullmatch(r"[a-zA-Z0-9.\-]+|\[[0-9a-fA-F:]+\]", name.strip())),
        None,
    ):
        raise ValueError(f"has {odd.strip()!r}, which is no host name; write no scheme and no port")
    return value


def check_pairs(value: str | None) -> str | None:
    """Pairs `word=scope`, separated by commas."""
    if value is not None and not all(re.fullmatch(r"[^=,]+=[a-z]+", pair.strip()) for pair in value.split(",")):
        raise ValueError("is not a list such as authenticated=learner,researcher=read")
    return value
