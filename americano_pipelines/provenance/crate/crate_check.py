"""Verify a crate with this project's own verifier, and say whether the archive has its record."""

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

from americano_pipelines.common.temporary_folders import reader_temporary_folder
from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.archive import records_dir
from americano_pipelines.provenance.crate.contents import RECORD_FILE, VERIFIER, verifier
from americano_pipelines.provenance.crate.time_stamp import STAMP, stamped_at
from americano_pipelines.settings import Settings

_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class CrateCheck:
    """What the verifier found in a crate.

    Attributes:
        record_sha256: hash of its record.
        verified: whether nothing differs from the record.
        findings: status (`ok`, `FAULT` or `unknown`) and words of each.
    """

    record_sha256: str
    verified: bool
    findings: list[tuple[str, str]]


def check_crate(settings: Settings, crate: Path) -> CrateCheck:
    """Verify a crate.

    The verifier is this project's, not the one in the crate; the modules in the crate are run by it.

    Args:
        settings: whose archive may have the record.
        crate: the ZIP file.

    Raises:
        AnalysisError: the file is no crate, or the verifier does not come to its end.
    """
    with reader_temporary_folder(settings.spill_dir, "crate") as folder:
        inside, program = folder / "crate", folder / VERIFIER
        try:
            with zipfile.ZipFile(crate) as archive:
                archive.extractall(inside)
        except (zipfile.BadZipFile, OSError) as error:
            raise AnalysisError(f"{crate} is no crate: {error}") from None
        if not (inside / RECORD_FILE).is_file():
            raise AnalysisError(f"{crate} is no crate of an analysis: it has no {RECORD_FILE}")
        program.write_bytes(verifier())
        done = subprocess.run(  # noqa: S603 - fixed arguments
            [sys.executable, "-I", str(program), str(inside), "--json"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            words = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise AnalysisError(f"{crate} cannot be verified: {words}") from None
        stamp = _stamp(inside)
        own = (inside / VERIFIER).is_file() and (inside / VERIFIER).read_bytes() == verifier()
    sha256 = str(answer["record"])
    findings = [(str(status), str(words)) for status, words in answer["findings"]]
    findings += stamp
    kept = (records_dir(settings) / f"{sha256}.json").is_file()
    findings.append(("ok", "this archive has the record") if kept else ("unknown", "this archive has no such record"))
    if not own:
        findings.append(("unknown", f"{VERIFIER} in the crate is another than this project's: it was not run"))
    verified = bool(answer["verified"]) and "FAULT" not in {status for status, _ in stamp}
    return CrateCheck(sha256, verified, findings)


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
