"""Collect the files of one recorded analysis, each with its hash checked, with or without what shows its days."""

from dataclasses import dataclass
from importlib.resources import files

from americano_pipelines.analysis.day_values import DAYS
from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.mlflow_store.artifacts import find_run
from americano_pipelines.mlflow_store.client import open_store_to_read
from americano_pipelines.provenance.module_bundle import kept_modules
from americano_pipelines.provenance.perform import RESULTS
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.record_lookup import find_record
from americano_pipelines.provenance.recorder import DIFF, EXTRACT, LOCK_FILE
from americano_pipelines.settings import Settings

RECORD_FILE, VERIFIER, MODULES, GUIDE = "record.json", "verify.py", "modules/", "README.md"
# Every other file with its hash, for `sha256sum -c`.
LISTING = "SHA256SUMS"
# What shows no day of a learner. All else that an analysis made does, or may.
_WITHOUT_DAYS = frozenset({RESULTS, LOCK_FILE, DIFF})


@dataclass(frozen=True)
class CrateContents:
    """What goes into a crate.

    Attributes:
        record: the record.
        sha256: its hash.
        files: path in the crate to content.
        withheld: paths of the recorded files that are left out.
    """

    record: Record
    sha256: str
    files: dict[str, bytes]
    withheld: tuple[str, ...]

    @property
    def has_days(self) -> bool:
        """Whether it holds the days of a learner."""
        return DAYS in self.files


def collect_contents(settings: Settings, name: str, *, with_days: bool) -> CrateContents:
    """Collect the files of a recorded analysis.

    Args:
        settings: whose archive and MLflow.
        name: a name of the record, as `record_lookup.find_record` takes it.
        with_days: whether to take what shows the days.

    Raises:
        AnalysisError: there is no such record, or one of its files is gone.
        TamperedError: a file is not as it was recorded; `americano verify` says more.
        TrackingError: MLflow does not answer.
    """
    sha256, record = find_record(settings.paths, name)
    run = find_run(open_store_to_read(settings), str(record.tracking["run_id"]))
    if run is None:
        raise AnalysisError(f"the MLflow run of record {sha256[:12]}, which holds its files, is gone")
    contents, withheld = {RECORD_FILE: record.canonical()}, []
    for path, artifact in sorted(record.artifacts.items()):
        # The extract has the times of events.
        if path == EXTRACT or not (with_days or path in _WITHOUT_DAYS):
            withheld.append(path)
            continue
        content = run.content(path)
        if content is None:
            raise AnalysisError(f"{path} of record {sha256[:12]} is gone; `americano verify {sha256[:12]}` says more")
        if sha256_hex(content) != artifact.sha256:
            raise TamperedError(f"{path} was changed; `americano verify {sha256[:12]}` says more")
        contents[path] = content
    if record.module_bundle_sha256 is not None:
        try:
            modules = kept_modules(settings.paths, record.module_bundle_sha256)
        except FileNotFoundError:
            raise AnalysisError(f"the modules that record {sha256[:12]} ran with are gone") from None
        contents |= {f"{MODULES}americano_pipelines/{path}": text.encode() for path, text in modules.items()}
    contents[VERIFIER] = verifier()
    return CrateContents(record, sha256, contents, tuple(withheld))


def verifier() -> bytes:
    """The program that checks a crate without this project."""
    return files("americano_pipelines.provenance.crate").joinpath("verify_standalone.py").read_bytes()
