"""Keep the modules that an analysis runs with, once per version, and run them in a process of their own.

A bundle holds all that `analysis/repeat.py` imports of this package; of libraries the record names the versions.
"""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from americano_pipelines.analysis.repeat import Reply, Request
from americano_pipelines.common.hashing import canonical_json, sha256_hex
from americano_pipelines.common.process_errors import last_error_line
from americano_pipelines.common.temporary_folders import reader_temporary_folder
from americano_pipelines.provenance.archive import get, put
from americano_pipelines.settings import PACKAGE, DataFolder

_FOLDERS = ("analysis", "statistics", "warehouse", "lake", "sources", "common", "settings")
_FILES = ("__init__.py", "errors.py", "text_output.py")
_ENDINGS = frozenset({".py", ".sql"})
# A Bayesian analysis takes minutes.
_TIMEOUT_SECONDS = 3600


def present_modules() -> dict[str, str]:
    """Path in the package to text, of every module that is running."""
    paths = [PACKAGE / name for name in _FILES]
    paths += [path for folder in _FOLDERS for path in (PACKAGE / folder).rglob("*") if path.suffix in _ENDINGS]
    return {path.relative_to(PACKAGE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(paths)}


def bundle_of(modules: Mapping[str, str]) -> bytes:
    """The canonical text of a bundle; its hash names it."""
    return canonical_json(dict(modules))


def keep_bundle(paths: DataFolder, bundle: bytes, mode: int) -> str:
    """Keep a bundle, unless it is there; its hash.

    Raises:
        TamperedError, ResourceError: as `archive.put`.
    """
    return put(paths.module_bundles, bundle, mode)[1]


def kept_modules(paths: DataFolder, sha256: str) -> dict[str, str]:
    """The modules of a kept bundle.

    Raises:
        FileNotFoundError: it is gone; TamperedError: it was changed.
    """
    modules: dict[str, str] = json.loads(get(paths.module_bundles, sha256))
    return modules


def differing_modules(modules: Mapping[str, str], recorded: Mapping[str, str]) -> list[str]:
    """Paths of recorded modules whose text in a bundle has another hash, or that it lacks."""
    return sorted(
        path for path, sha256 in recorded.items() if path not in modules or sha256_hex(modules[path].encode()) != sha256
    )


def write_modules(folder: Path, modules: Mapping[str, str]) -> None:
    """Write modules as the package `americano_pipelines` into a folder."""
    for path, text in modules.items():
        target = folder / PACKAGE.name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def repeat_with(paths: DataFolder, modules: Mapping[str, str], request: Request) -> Reply:
    """Repeat an analysis with kept modules, in a process that imports no other ones of this package."""
    with reader_temporary_folder(paths.spill, "repeat") as folder:
        write_modules(folder, modules)
        request_path, reply_path = folder / "request.json", folder / "reply.json"
        request_path.write_text(request.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", f"{PACKAGE.name}.analysis.repeat", str(request_path), str(reply_path)]
        try:
            done = subprocess.run(  # noqa: S603 - fixed arguments
                command,
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(folder)},
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Reply(error=f"it did not end within {_TIMEOUT_SECONDS} s")
        if done.returncode != 0:
            return Reply(error=last_error_line(done))
        try:
            return Reply.model_validate({**json.loads(reply_path.read_bytes())})
        except (OSError, ValueError, ValidationError) as error:
            return Reply(error=f"its reply cannot be read: {error}")
