"""Name every folder and file that the project keeps, and check the places that settings choose. Write nothing."""

import glob
import os
import tempfile
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from americano_pipelines.errors import describe_os_error

SNAPSHOT_RECORD = "snapshot.json"
"""The record beside each published file."""
PSEUDONYM_KEY = "pseudonym.key"
API_KEYS = "api_keys"
DEMO_SERVER = "postgres"
_TEMPORARY = ".tmp-*"
# What Dagster and this project put into a Dagster home.
_DAGSTER_NAMES = frozenset(
    {"dagster.yaml", "history", "schedules", "storage", "logs", "processes", "artifacts", "dev.lock", ".install.lock"}
    | {".americano_home", ".telemetry", ".logs_queue", ".nux"}
)
# Folders that a machine has for everybody, or for its own use.
_SYSTEM_FOLDERS = frozenset(
    Path("/", name)
    for name in (
        *("bin", "boot", "dev", "dev/shm", "etc", "home", "lib", "media", "mnt", "opt", "proc", "root", "run", "sbin"),
        *("srv", "sys", "tmp", "usr", "usr/local", "var", "var/lib", "var/tmp"),
    )
)


@dataclass(frozen=True)
class DataFolder:
    """The data folder and the two places that settings may put elsewhere; all paths are absolute.

    Attributes:
        root: the data folder (AMERICANO_DATA_DIR).
        published: the link that readers open (DUCKDB_DB_PATH).
        dagster_home: Dagster's own records (DAGSTER_HOME).
    """

    root: Path
    published: Path
    dagster_home: Path

    @classmethod
    def at(cls, root: Path, *, published: Path | None = None, dagster_home: Path | None = None) -> Self:
        """Describe the data folder at `root`; None stands for the place below it."""
        default = root / "duckdb" / "americano.duckdb"
        return cls(root, published or default, dagster_home or root / "dagster_home")

    def export(self, table: str) -> Path:
        """The external Parquet file of a table that is expected here (parquet mode)."""
        return self.root / "exports" / f"{table}.parquet"

    @property
    def lake(self) -> Path:
        """Our own Parquet exports and their manifest."""
        return self.root / "parquet"

    @property
    def manifest(self) -> Path:
        """What the lake holds."""
        return self.lake / "manifest.json"

    @property
    def snapshots(self) -> Path:
        """Published files, each with its record in a folder named by its snapshot id."""
        return self.published.parent / "snapshots"

    @property
    def purged_snapshots(self) -> Path:
        """Cards of the snapshots that an erasure removed."""
        return self.snapshots / "purged"

    @property
    def extracts(self) -> Path:
        """The exact inputs of analyses; they are kept although snapshots expire."""
        return self.root / "extracts"

    @property
    def purged_extracts(self) -> Path:
        """Cards of the extracts that an erasure removed."""
        return self.extracts / "purged"

    @property
    def records(self) -> Path:
        """Provenance records."""
        return self.root / "provenance"

    @property
    def extract_checks(self) -> Path:
        """Results of comparing extracts with their snapshots."""
        return self.records / "extract_checks"

    @property
    def expired_snapshots(self) -> Path:
        """Cards of the snapshots that expired."""
        return self.extract_checks / "expired"

    @property
    def crate_cards(self) -> Path:
        """Cards of the crates with days that were written."""
        return self.records / "crates"

    @property
    def request_cards(self) -> Path:
        """Cards of the analyses that the API was asked for."""
        return self.records / "requests"

    @property
    def export_cards(self) -> Path:
        """Records of the files that were handed out."""
        return self.records / "exports"

    @property
    def purged_exports(self) -> Path:
        """What stays of these records when an erasure removed the files."""
        return self.export_cards / "purged"

    @property
    def module_bundles(self) -> Path:
        """The modules that analyses ran with, once per version."""
        return self.records / "modules"

    @property
    def spill(self) -> Path:
        """Where DuckDB puts what does not fit into its memory limit."""
        return self.root / "tmp"

    @property
    def pseudonym_key(self) -> Path:
        """The key of the learners' pseudonyms."""
        return self.root / PSEUDONYM_KEY

    @property
    def pseudonym_card(self) -> Path:
        """The id of that key."""
        return self.root / "pseudonym.json"

    @property
    def api_keys(self) -> Path:
        """What is stored of the keys of the API, a file each."""
        return self.root / API_KEYS

    @property
    def mlflow(self) -> Path:
        """MLflow's default store, or the folder that a container serves it from."""
        return self.root / "mlflow"

    @property
    def mlflow_database(self) -> Path:
        """The database of the default store."""
        return self.mlflow / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """The artifacts of a store whose database is on this machine."""
        return self.mlflow / "artifacts"

    @property
    def mlflow_lock(self) -> Path:
        """Held while MLflow objects are created; beside the store, which may belong to a container."""
        return self.root / "mlflow.lock"

    @property
    def writer_lock(self) -> Path:
        """Held while the lake or the published file is written."""
        return self.root / "sync.lock"

    @property
    def published_lock(self) -> Path:
        """Held second, because two data folders may publish under one name."""
        return self.published.with_name(f".{self.published.name}.lock")

    @property
    def dev_lock(self) -> Path:
        """Held by `americano dev`."""
        return self.dagster_home / "dev.lock"

    @property
    def demo_server(self) -> Path:
        """The demo's Postgres."""
        return self.root / DEMO_SERVER

    @property
    def own_names(self) -> dict[Path, frozenset[str]]:
        """The data folder and the folders that settings may put elsewhere, with patterns of the names we put there."""
        named = (
            self.lake,
            self.extracts,
            self.records,
            self.spill,
            self.pseudonym_key,
            self.pseudonym_card,
            self.api_keys,
            self.mlflow,
        )
        locks = (self.mlflow_lock, self.writer_lock, self.published_lock)
        cards = (lock.with_suffix(".json") for lock in locks)
        places = (
            *named,
            *locks,
            *cards,
            self.demo_server,
            self.published,
            self.snapshots,
            self.dagster_home,
            self.root,
        )
        snapshot_names = {"[0-9]*T[0-9]*Z-*", self.purged_snapshots.name}
        names: dict[Path, frozenset[str]] = {}
        # Settings may name one folder twice, or one inside another.
        for folder, kept in (
            (self.root, {".gitkeep", f"{DEMO_SERVER}.lock"}),
            (self.dagster_home, _DAGSTER_NAMES),
            (self.snapshots, snapshot_names),
        ):
            inside = {place.relative_to(folder).parts[0] for place in places if folder in place.parents}
            names[folder] = names.get(folder, frozenset()) | kept | inside | {_TEMPORARY}
        return names

    @property
    def temporary_parents(self) -> list[Path]:
        """Folders in which temporary folders are made, each once; the spill folder is not among them."""
        dagster = (self.dagster_home, self.dagster_home / "history" / "runs", self.dagster_home / "storage")
        folders = (
            self.root,
            self.lake,
            self.published.parent,
            self.snapshots,
            self.purged_snapshots,
            self.extracts,
            self.purged_extracts,
            self.records,
            self.api_keys,
            self.extract_checks,
            self.expired_snapshots,
            self.module_bundles,
            self.crate_cards,
            self.request_cards,
            self.export_cards,
            self.purged_exports,
            self.mlflow,
            *dagster,
        )
        return list(dict.fromkeys(folders))


def leads_into(location: Path, folder: Path) -> bool:
    """Whether a file, folder or glob means files inside a folder; symbolic links and `..` are followed.

    Args:
        location: absolute; a folder stands for everything below it.
        folder: the folder that must stay out of reach.
    """
    wild = next((i for i, part in enumerate(location.parts) if glob.has_magic(part)), None)
    if wild is None or location.exists():
        start, pattern = location.resolve(), location.parts[:0]
    else:
        start, pattern = Path(*location.parts[:wild]).resolve(), location.parts[wild:]
    inner = folder.resolve()
    if start.is_relative_to(inner):
        return True
    if not inner.is_relative_to(start):
        return False
    return not pattern or _descends(pattern, inner.relative_to(start).parts)


def reason_not_a_folder(path: Path) -> str | None:
    """Why a path can never be a folder; None where it is one, or may become one.

    Whether this user may create it is tried by `americano doctor`.
    """
    for place in (path, *path.parents):
        try:
            if place.is_dir():
                return None
            if place.exists():
                return f"{place} is a file, not a folder"
            if place.is_symlink():
                return f"{place} is a link that leads nowhere"
        except PermissionError:
            return None
        except OSError as error:
            return describe_os_error(error, place)
    return None


def reason_not_exclusive(path: Path) -> str | None:
    """Why a folder cannot be kept for this project alone: it is the machine's, or a whole home; None where it can."""
    home = Path(os.path.expanduser("~")).absolute()  # noqa: PTH111 - Path.home raises where there is none
    others = {*_SYSTEM_FOLDERS, Path(tempfile.gettempdir()), home, *home.parents}
    for place in (Path(os.path.normpath(path)), path.resolve()):
        if place == Path(place.anchor) or place in others:
            return f"{place} is a folder that others use too; name a folder in it, such as {place / 'americano'}"
    return None


def _descends(pattern: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Whether a pattern continues below the folder of these parts."""
    if not pattern or not parts:
        return bool(pattern)
    if pattern[0] == "**":
        return True
    return fnmatch(parts[0], pattern[0]) and _descends(pattern[1:], parts[1:])
