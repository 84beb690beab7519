"""Capture the context of an analysis before it starts: caller, code, packages."""

import hashlib
import platform
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from americano_pipelines.common import atomic_files
from americano_pipelines.provenance.secret_filter import without_secrets
from americano_pipelines.settings import PROJECT_ROOT, redact

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
    outputs: dict[str, str | None] = {}
    for name, command in _COMMANDS.items():
        outputs[name], why = _git(*command)
        if why is not None:
            not_captured[name] = why
    status = outputs["dirty"]
    untracked = [line[3:] for line in (status or "").splitlines() if line.startswith("??")]
    diff, withheld = without_secrets(outputs["diff"] or "")
    others = [name for name in (outputs["changed"] or "").splitlines() if not name.endswith(_CODE)]
    if withheld:
        diff += f"withheld: {withheld} lines that look like secrets\n"
        not_captured["diff"] = f"{withheld} lines that look like secrets were withheld"
    diff += "".join(f"changed, not shown: {name}\n" for name in others)
    return Code(
        commit=outputs["commit"] or UNKNOWN,
        dirty=None if status is None else bool(status),
        repository=_without_credentials(outputs["repository"]) if outputs["repository"] else UNKNOWN,
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


LOCK = PROJECT_ROOT / "requirements.lock"
# Those that decide a number, and those that carry it.
_PACKAGES = (
    "numpy",
    "scipy",
    "statsmodels",
    "ruptures",
    "scikit-learn",
    "pandas",
    "duckdb",
    "pyarrow",
    "mlflow",
    "dagster",
)
# Those of the optional extra: named where they are installed.
_OPTIONAL = ("pymc", "arviz", "pytensor")


@dataclass(frozen=True)
class Environment:
    """The environment of an analysis.

    Attributes:
        python: its version.
        platform: operating system and machine.
        packages: name to version; None for one that is not installed, and nothing for one that need not be.
        lock_sha256: hash of the lock file, None when there is none.
    """

    python: str
    platform: str
    packages: dict[str, str | None]
    lock_sha256: str | None


def capture_environment() -> Environment:
    """Look at the environment that is running."""
    return Environment(
        python=sys.version.split()[0],
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: _version(name) for name in _PACKAGES}
        | {name: installed for name in _OPTIONAL if (installed := _version(name)) is not None},
        lock_sha256=atomic_files.sha256(LOCK) if LOCK.is_file() else None,
    )


def dvc_lock_sha256(folder: Path = PROJECT_ROOT) -> str | None:
    """Hash of the project's dvc.lock, None when there is none."""
    path = folder / "dvc.lock"
    return atomic_files.sha256(path) if path.is_file() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class RunContext:
    """Who asked for what, as Dagster knows it.

    Attributes:
        dagster_run_id: the Dagster run.
        asset_key: the asset, with slashes.
        partition: its partition, None when it has none.
        actor: who or what launched it.
        analysis_run_id: the app's row, None when there is none.
        code_versions: upstream asset key to its code version.
    """

    dagster_run_id: str
    asset_key: str
    partition: str | None
    actor: str
    analysis_run_id: str | None
    code_versions: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True)
class CapturedContext:
    """What was so when an analysis began; taken before it, so that nothing that changes meanwhile is vouched for."""

    started_at: str
    code: Code
    environment: Environment
    dvc_lock_sha256: str | None


def capture_context() -> CapturedContext:
    """Look at code, environment and clock, before anything is computed."""
    return CapturedContext(utc_now(), capture_code(), capture_environment(), dvc_lock_sha256())


def utc_now() -> str:
    """The present, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat()
