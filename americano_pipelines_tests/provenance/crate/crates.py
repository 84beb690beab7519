"""Write crates, validate them offline, and verify them where only numpy is installed."""

import json
import subprocess
import sys
import venv
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from americano_pipelines.common.hashing import canonical_json, file_sha256, sha256_hex
from americano_pipelines.provenance.crate.contents import collect_contents
from americano_pipelines.provenance.crate.ro_crate import crate_options, write_crate
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.provenance.conftest import Lab

# JSON-LD context of RO-Crate 1.1, as the package rocrate 0.14.0 carries it (CC0); the validator would fetch it. What is
# served today, 1.1.3, differs in `RepositoryObject` and lacks `@label`; no crate here uses either.
CONTEXT = Path(__file__).with_name("ro_crate_context.json")
CONTEXT_ADDRESS = "https://w3id.org/ro/crate/1.1/context"
NAMES = {
    "americano_crate_author": "Ada Example",
    "americano_crate_author_orcid": "https://orcid.org/0000-0002-1825-0097",
    "americano_crate_publisher": "Example University",
    "americano_crate_publisher_url": "https://example.org/university",
    "americano_crate_license": "https://creativecommons.org/licenses/by/4.0/",
}


def settings_of(lab: Lab) -> Settings:
    """The lab's settings with what a crate says of its author."""
    return load_settings(
        americano_data_dir=lab.settings.paths.root, log_level="WARNING", **lab.database.variables(), **NAMES
    )


def written(lab: Lab, recorded: Recorded, folder: Path, *, with_days: bool = True) -> Path:
    """The crate of a record."""
    settings, target = settings_of(lab), folder / "crate.zip"
    contents = collect_contents(settings, recorded.sha256, with_days=with_days)
    write_crate(settings.paths, contents, crate_options(settings, None), target)
    return target


def unpacked(crate: Path, folder: Path) -> Path:
    """The folder of a crate."""
    with zipfile.ZipFile(crate) as archive:
        archive.extractall(folder)
    return folder


def findings(crate: Path, cache: Path) -> list[tuple[str, str]]:
    """Severity and message of what the validator finds in a crate, of REQUIRED and RECOMMENDED checks, offline."""
    from requests.adapters import HTTPAdapter
    from requests_cache import CachedSession
    from rocrate_validator import services
    from rocrate_validator.models import Severity, ValidationSettings
    from urllib3 import HTTPResponse

    class Shelf(HTTPAdapter):
        """Answers with the context instead of asking the network."""

        def send(self, request: Any, *_: Any, **__: Any) -> Any:
            headers = {"Content-Type": "application/ld+json"}
            answer = HTTPResponse(BytesIO(CONTEXT.read_bytes()), headers, 200, preload_content=False)
            return self.build_response(request, answer)

    session = CachedSession(cache_name=str(cache), backend="sqlite", expire_after=-1)
    session.mount("https://", Shelf())
    assert session.get(CONTEXT_ADDRESS).status_code == 200
    result = services.validate(
        ValidationSettings(
            rocrate_uri=str(crate),
            profile_identifier="process-run-crate",
            requirement_severity=Severity.RECOMMENDED,
            offline=True,
            cache_path=cache,
        )
    )
    return [(issue.severity.name, f"{issue.check.identifier}: {issue.message}") for issue in result.get_issues()]


def sealed(folder: Path) -> None:
    """Make everything in a folder agree that is written after the record: hashes, sentence and verdict."""
    record = json.loads((folder / "record.json").read_bytes())
    sha256 = sha256_hex((folder / "record.json").read_bytes())
    (folder / "README.md").write_text(f"# A crate\n\n{record['sentence']}\n\nRecord {sha256}.")
    metadata = folder / "ro-crate-metadata.json"
    document = json.loads(metadata.read_bytes())
    said = {"record sha256": sha256, "verdict": record["verdict"] or "none"}
    for entity in document["@graph"]:
        if entity["@id"] == "./":
            entity["description"] = record["sentence"]
        if entity.get("name") in said:
            entity["value"] = said[entity["name"]]
        if "identifier" in entity and (folder / entity["@id"]).is_file():
            entity["identifier"] = f"urn:sha256:{file_sha256(folder / entity['@id'])}"
    metadata.write_text(json.dumps(document))
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    lines = [f"{file_sha256(path)}  {name}\n" for name, path in sorted(files.items()) if name != "SHA256SUMS"]
    (folder / "SHA256SUMS").write_text("".join(lines))


def forged(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the record in a crate's folder, and make everything else agree with it."""
    record = json.loads((folder / "record.json").read_bytes())
    change(record)
    for name, content in (("results.json", canonical_json(record["results"])), ("days.json", None)):
        if content is not None:
            (folder / name).write_bytes(content)
        if (folder / name).is_file():
            text = (folder / name).read_bytes()
            record["artifacts"][name] = {"sha256": sha256_hex(text), "bytes": len(text)}
    modules = folder / "modules" / "americano_pipelines"
    paths = [path for path in modules.rglob("*") if path.suffix in {".py", ".sql"}]
    texts = {path.relative_to(modules).as_posix(): path.read_text() for path in paths}
    record["module_bundle_sha256"] = sha256_hex(canonical_json(texts))
    (folder / "record.json").write_bytes(canonical_json(record))
    sealed(folder)
    return folder


def bare_python(folder: Path) -> Path:
    """Python of a virtual environment that has numpy and nothing else."""
    venv.create(folder, with_pip=False)
    packages = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    numpy = Path(np.__file__).parent
    for package in (numpy, numpy.with_name("numpy.libs")):
        if package.is_dir():
            (packages / package.name).symlink_to(package)
    return folder / "bin" / "python"


def verified(python: Path, folder: Path, elsewhere: Path) -> tuple[int, dict[str, Any]]:
    """Exit code and findings of `python verify.py` in a crate's folder."""
    done = subprocess.run(
        [str(python), str(folder / "verify.py"), "--json"],
        cwd=elsewhere,
        env={},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)
