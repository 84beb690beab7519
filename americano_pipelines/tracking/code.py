"""Which code ran: the commit and what differs from it, and a hash of the modules that works without git.

Here belongs looking at the code. What is unknown is said to be unknown, with the reason; nothing is invented.
"""

import hashlib
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from americano_pipelines.settings import PROJECT_ROOT, redact
from americano_pipelines.tracking.withheld import without_secrets

UNKNOWN = "unknown"
_PACKAGE = PROJECT_ROOT / "americano_pipelines"
# What decides a number: the statistics and what prepares their input.
_ANALYSIS = ("research", "analysis")
_CODE = (".py", ".sql")
_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Code:
    """The code of an analysis.

    Attributes:
        commit: the commit that is checked out, `unknown` without git.
        dirty: whether the tree differs from it, files that git does not know included; None when unknown.
        repository: the remote's address without credentials, `unknown` when there is none.
        diff: what differs in Python and SQL, as a patch without lines that look like secrets; all else that
            differs, and files that git does not know, by name only.
        modules: sha256 of every module that decides a result, by path in the package.
        not_captured: what could not be found out, with the reason.
    """

    commit: str
    dirty: bool | None
    repository: str
    diff: str
    modules: dict[str, str]
    not_captured: dict[str, str] = field(default_factory=dict)

    @property
    def diff_sha256(self) -> str:
        """Hash of the patch."""
        return hashlib.sha256(self.diff.encode()).hexdigest()

    @property
    def modules_sha256(self) -> str:
        """Hash of all these modules."""
        return hashlib.sha256(repr(sorted(self.modules.items())).encode()).hexdigest()


def capture_code() -> Code:
    """Look at the code that is running."""
    modules = {
        path.relative_to(_PACKAGE).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in _ANALYSIS
        for path in sorted((_PACKAGE / folder).rglob("*"))
        if path.suffix in {".py", ".sql"}
    }
    top, why = _git("rev-parse", "--show-toplevel")
    # A project that lies inside somebody else's repository is not that repository's code.
    if top is None or Path(top).resolve() != PROJECT_ROOT.resolve():
        reason = why or f"{PROJECT_ROOT} is not the top of a git repository"
        return Code(
            UNKNOWN, None, UNKNOWN, "", modules, dict.fromkeys(("commit", "dirty", "repository", "diff"), reason)
        )
    not_captured: dict[str, str] = {}
    found: dict[str, str | None] = {}
    for name, command in _COMMANDS.items():
        found[name], why = _git(*command)
        if why is not None:
            not_captured[name] = why
    status = found["dirty"]
    untracked = [line[3:] for line in (status or "").splitlines() if line.startswith("??")]
    diff, withheld = without_secrets(found["diff"] or "")
    others = [name for name in (found["changed"] or "").splitlines() if not name.endswith(_CODE)]
    if withheld:
        diff += f"withheld: {withheld} lines that look like secrets\n"
        not_captured["diff"] = f"{withheld} lines that look like secrets were withheld"
    diff += "".join(f"changed, not shown: {name}\n" for name in others)
    return Code(
        commit=found["commit"] or UNKNOWN,
        dirty=None if status is None else bool(status),
        repository=_without_credentials(found["repository"]) if found["repository"] else UNKNOWN,
        diff=diff + "".join(f"untracked: {name}\n" for name in untracked),
        modules=modules,
        not_captured=not_captured,
    )


_COMMANDS = {
    "commit": ("rev-parse", "HEAD"),
    "dirty": ("status", "--porcelain", "--untracked-files=all"),
    "repository": ("config", "--get", "remote.origin.url"),
    # Code alone: settings, notes and data may hold passwords, and rows.
    "diff": ("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--", *(f"*{end}" for end in _CODE)),
    "changed": ("diff", "HEAD", "--no-ext-diff", "--name-only"),
}


def _git(*arguments: str) -> tuple[str | None, str | None]:
    """What git says, or None and why it says nothing."""
    try:
        done = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(PROJECT_ROOT), *arguments],  # noqa: S607 - whichever git is on the path
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"git: {error}"
    if done.returncode != 0:
        return None, f"git {arguments[0]}: {done.stderr.strip() or 'nothing is set'}"
    # Not stripped at the front: the status of a file begins with a blank.
    return done.stdout if arguments[0] == "diff" else done.stdout.rstrip("\n"), None


def _without_credentials(address: str) -> str:
    """A remote's address without the user and password that may stand before its host."""
    scheme, separator, rest = address.partition("://")
    if separator:
        return redact(f"{scheme}://{rest.rpartition('@')[2]}")
    user, at, place = address.rpartition("@")
    # Git's short form `git@host:path` has a user, and a secret only after a colon.
    return place if at and ":" in user else address
