"""What an analysis ran in: Python, machine, packages, lock file.

Here belongs looking at the environment. Values that could identify a person (host, user) are left out.
"""

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from americano_pipelines import durable
from americano_pipelines.settings import PROJECT_ROOT

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
        | {name: found for name in _OPTIONAL if (found := _version(name)) is not None},
        lock_sha256=durable.sha256(LOCK) if LOCK.is_file() else None,
    )


def dvc_lock_sha256(folder: Path = PROJECT_ROOT) -> str | None:
    """Hash of the project's dvc.lock, None when there is none."""
    path = folder / "dvc.lock"
    return durable.sha256(path) if path.is_file() else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
