"""Capture the context of an analysis before it starts: caller, code, packages."""

import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from americano_pipelines.common.hashing import file_sha256, sha256_hex
from americano_pipelines.provenance.module_bundle import bundle_of, present_modules
from americano_pipelines.provenance.secret_filter import without_secrets
from americano_pipelines.settings import IS_CLONE, PACKAGE, PROJECT_FILES, PROJECT_ROOT, redact

UNKNOWN = "unknown"
# The packages that decide a number: the statistics and the preparation of their input.
_ANALYSIS = ("statistics", "analysis")
_CODE = (".py", ".sql")
_TIMEOUT_SECONDS = 20
_INSTALLED = "the package was installed without its repository"


@dataclass(frozen=True)
class Code:
    """The code of an analysis.

    Attributes:
        commit: the commit that is checked out, `unknown` without git.
        dirty: whether the working tree differs from it or has untracked files; None when unknown.
        repository: the remote's address without credentials, `unknown` without a remote.
        diff: the changes in Python and SQL as a patch, without lines that look like secrets; other changed files and
            untracked ones by name only.
        modules: sha256 of every module that decides a result, by path in the package.
        not_captured: what could not be captured, with the reason.
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
        return sha256_hex(self.diff.encode())

    @property
    def modules_sha256(self) -> str:
        """Hash of the paths and hashes of all modules."""
        return sha256_hex(repr(sorted(self.modules.items())).encode())


def capture_code() -> Code:
    """Capture the code that is running."""
    modules = {
        path.relative_to(PACKAGE).as_posix(): file_sha256(path)
        for folder in _ANALYSIS
        for path in sorted((PACKAGE / folder).rglob("*"))
        if path.suffix in {".py", ".sql"}
    }
    top, why = _git("rev-parse", "--show-toplevel") if IS_CLONE else (None, _INSTALLED)
    # A project inside the repository of another project is not that repository's code.
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
    other_files = [name for name in (outputs["changed"] or "").splitlines() if not name.endswith(_CODE)]
    if withheld:
        diff += f"withheld: {withheld} lines that look like secrets\n"
        not_captured["diff"] = f"{withheld} lines that look like secrets were withheld"
    diff += "".join(f"changed, not shown: {name}\n" for name in other_files)
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
    # Code only: settings, notes and data may hold passwords and rows.
    "diff": ("diff", "HEAD", "--no-ext-diff", "--no-textconv", "--no-color", "--", *(f"*{end}" for end in _CODE)),
    "changed": ("diff", "HEAD", "--no-ext-diff", "--name-only"),
}


def describe_commit(commit: str) -> tuple[bool, str]:
    """Where a commit is today.

    Args:
        commit: its hash.

    Returns:
        Whether a branch or tag still leads to it, and in words where it is.
    """
    if not re.fullmatch("[0-9a-f]{7,64}", commit):
        return False, "it is no hash of a commit"
    if _git("cat-file", "-e", f"{commit}^{{commit}}")[1] is not None:
        return False, "this repository does not have it: it was amended or removed, or this is another clone"
    if _git("merge-base", "--is-ancestor", commit, "HEAD")[1] is None:
        newer, _ = _git("rev-list", "--count", f"{commit}..HEAD")
        return True, f"{newer} commits were made since"
    names, _ = _git("for-each-ref", f"--contains={commit}", "--format=%(refname:short)")
    if not names:
        return False, "no branch or tag leads to it any more: it was amended or left behind"
    return True, f"it is on {', '.join(names.splitlines())}"


def _git(*arguments: str) -> tuple[str | None, str | None]:
    """The output of a git command, or None and the reason."""
    try:
        process = subprocess.run(  # noqa: S603 - fixed arguments
            ["git", "-C", str(PROJECT_ROOT), *arguments],  # noqa: S607 - whichever git is on the path
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"git: {error}"
    if process.returncode != 0:
        return None, f"git {arguments[0]}: {process.stderr.strip() or 'nothing is set'}"
    # Not stripped at the front: a line of `git status` begins with a blank.
    return process.stdout if arguments[0] == "diff" else process.stdout.rstrip("\n"), None


def _without_credentials(address: str) -> str:
    """A remote's address without the user and password before its host."""
    scheme, separator, rest = address.partition("://")
    if separator:
        return redact(f"{scheme}://{rest.rpartition('@')[2]}")
    user, at, location = address.rpartition("@")
    # Git's short form `git@host:path` has a user, and a secret only after a colon.
    return location if at and ":" in user else address


# A wheel does not say what was installed beside it; a lock file where it runs is another project's.
LOCK = PROJECT_FILES / "requirements.lock"
# The packages that compute numbers or carry them.
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
# The packages of the optional extra; recorded where they are installed.
_OPTIONAL = ("pymc", "arviz", "pytensor")


@dataclass(frozen=True)
class Environment:
    """The environment of an analysis.

    Attributes:
        python: version of Python.
        platform: operating system and machine.
        packages: name to version, None for one that is not installed; optional packages only where installed.
        lock_sha256: hash of the lock file, None without that file.
    """

    python: str
    platform: str
    packages: dict[str, str | None]
    lock_sha256: str | None


def capture_environment() -> Environment:
    """Capture the environment that is running."""
    return Environment(
        python=sys.version.split()[0],
        platform=f"{platform.system()} {platform.machine()}",
        packages={name: _version(name) for name in _PACKAGES}
        | {name: installed for name in _OPTIONAL if (installed := _version(name)) is not None},
        lock_sha256=file_sha256(LOCK) if LOCK.is_file() else None,
    )


def dvc_lock_sha256(folder: Path = PROJECT_ROOT) -> str | None:
    """Hash of the project's dvc.lock, None without that file."""
    path = folder / "dvc.lock"
    return file_sha256(path) if path.is_file() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class RunContext:
    """The Dagster run of an analysis, and what launched it.

    Attributes:
        dagster_run_id: the Dagster run.
        asset_key: the asset, with slashes.
        partition: the asset's partition, None for an asset without partitions.
        actor: the person or program that launched the run.
        analysis_run_id: the app's row, None without one.
        code_versions: upstream asset key to its code version.
        recorded_before: hashes of the records that Dagster's log names for the partition, of any analysis.
        not_searched: places that could not be searched for earlier analyses, with the reason.
    """

    dagster_run_id: str
    asset_key: str
    partition: str | None
    actor: str
    analysis_run_id: str | None
    code_versions: Mapping[str, str | None] = field(default_factory=dict)
    recorded_before: frozenset[str] = frozenset()
    not_searched: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class CapturedContext:
    """Code, environment and time at the start of an analysis; captured first, so that later changes are not in it."""

    started_at: str
    code: Code
    module_bundle: bytes
    environment: Environment
    dvc_lock_sha256: str | None


def capture_context() -> CapturedContext:
    """Capture code, environment and time, before anything is computed."""
    return CapturedContext(
        utc_now(), capture_code(), bundle_of(present_modules()), capture_environment(), dvc_lock_sha256()
    )


def utc_now() -> str:
    """The present time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat()
