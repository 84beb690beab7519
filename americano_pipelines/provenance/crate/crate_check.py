"""Verify a crate with this project's own verifier, and say whether the archive has its record and its modules."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.common.process_errors import last_error_line
from americano_pipelines.common.temporary_folders import reader_temporary_folder
from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.crate.contents import RECORD_FILE, VERIFIER, verifier
from americano_pipelines.provenance.crate.time_stamp import STAMP, stamped_at
from americano_pipelines.provenance.crate.unpack import unpack
from americano_pipelines.provenance.module_bundle import bundle_of, present_modules
from americano_pipelines.settings import DataFolder

_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class CrateCheck:
    """What the verifier found in a crate.

    Attributes:
        record_sha256: hash of its record.
        contents_sha256: hash of the list of all its files.
        verified: whether nothing differs from the record.
        findings: status (`ok`, `FAULT` or `unknown`) and words of each.
    """

    record_sha256: str
    contents_sha256: str
    verified: bool
    findings: list[tuple[str, str]]


def check_crate(paths: DataFolder, crate: Path) -> CrateCheck:
    """Verify a crate.

    The verifier is this project's, not the one in the crate; the modules in the crate are run by it.

    Args:
        paths: whose archive may have the record.
        crate: the ZIP file.

    Raises:
        AnalysisError: the file is no crate, or the verifier does not come to its end.
    """
    with reader_temporary_folder(paths.spill, "crate") as folder:
        inside, program = folder / "crate", folder / VERIFIER
        inside.mkdir()
        unpack(crate, inside)
        if not (inside / RECORD_FILE).is_file():
            raise AnalysisError(f"{crate} is no crate of an analysis: it has no {RECORD_FILE}")
        program.write_bytes(verifier())
        try:
            done = subprocess.run(  # noqa: S603 - fixed arguments
                [sys.executable, "-I", str(program), str(inside), "--json"],
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise AnalysisError(f"{crate} was not verified within {_TIMEOUT_SECONDS} s") from None
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            raise AnalysisError(f"{crate} cannot be verified: {last_error_line(done)}") from None
        findings = [(str(status), str(words)) for status, words in answer["findings"]]
        findings += [*_stamp(inside), *_known(paths, str(answer["record"]), inside)]
    verified = bool(answer["verified"]) and "FAULT" not in {status for status, _ in findings}
    return CrateCheck(str(answer["record"]), str(answer["contents"]), verified, findings)


def _known(paths: DataFolder, record_sha256: str, folder: Path) -> Iterator[tuple[str, str]]:
    """What this project and its archive know of a crate."""
    if (paths.records / f"{record_sha256}.json").is_file():
        yield "ok", "this archive has the record"
    else:
        yield "unknown", "this archive has no such record"
    try:
        modules = str(json.loads((folder / RECORD_FILE).read_bytes())["module_bundle_sha256"])
    except (LookupError, TypeError, ValueError):
        modules = ""
    if modules == sha256_hex(bundle_of(present_modules())):
        yield "ok", "the recorded modules are those of this release"
    elif modules and (paths.module_bundles / f"{Path(modules).name}.json").is_file():
        yield "ok", "this archive has the recorded modules"
    elif modules:
        yield "unknown", "neither this release nor this archive has the recorded modules: they may compute anything"
    if not (folder / VERIFIER).is_file() or (folder / VERIFIER).read_bytes() != verifier():
        yield "unknown", f"{VERIFIER} in the crate is another than this project's: it was not run"


def _stamp(folder: Path) -> list[tuple[str, str]]:
    """What the time stamp says, where there is one."""
    path = folder / STAMP
    if not path.is_file():
        return []
    try:
        time = stamped_at(path.read_bytes(), (folder / RECORD_FILE).read_bytes())
    except AnalysisError as error:
        return [("FAULT", str(error))]
    return [("ok", f"{STAMP} says that an authority saw this record on {time:%Y-%m-%d at %H:%M:%S} UTC")]
