"""Write a crate: RO-Crate 1.1, profile Process Run Crate, as one ZIP file.

https://www.researchobject.org/ro-crate/specification/1.1/ and
https://www.researchobject.org/workflow-run-crate/profiles/process_run_crate/
"""

import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from americano_pipelines.analysis.day_values import DAYS
from americano_pipelines.common import atomic_files
from americano_pipelines.common.hashing import file_sha256, sha256_hex
from americano_pipelines.common.temporary_folders import reader_temporary_folder
from americano_pipelines.errors import ConfigError
from americano_pipelines.provenance.crate.contents import GUIDE, LISTING, MODULES, RECORD_FILE, VERIFIER, CrateContents
from americano_pipelines.provenance.crate.time_stamp import STAMP
from americano_pipelines.provenance.perform import MANUSCRIPT, REPORT, RESULTS
from americano_pipelines.provenance.record import Record
from americano_pipelines.provenance.recorder import DIFF, LOCK_FILE
from americano_pipelines.settings import DataFolder, Settings

if TYPE_CHECKING:
    from rocrate.model.entity import Entity
    from rocrate.rocrate import ROCrate

_PROFILE = "https://w3id.org/ro/wfrun/process/0.5"
_REQUIRED = ("author", "author_orcid", "publisher", "publisher_url", "license")
# File to its name and type for people.
_DESCRIPTIONS = {
    RECORD_FILE: "Provenance record; its SHA-256 is what archive, MLflow, Dagster and the app name.",
    DAYS: "A value a day, the plan and the phases: the input of the statistics, without times of events.",
    RESULTS: "The whole result.",
    REPORT: "Report for people.",
    MANUSCRIPT: "Methods, results and checklist, to paste into a paper.",
    LOCK_FILE: "Locked versions of all packages.",
    DIFF: "Changes to the code that were not committed.",
    VERIFIER: "Checks this crate; needs Python and numpy only: python verify.py",
    GUIDE: "What this is, and how to check it.",
    LISTING: "The hash of every other file, as sha256sum writes and checks them.",
    STAMP: "Time stamp (RFC 3161) of record.json.",
}
_FORMATS = {
    ".json": "application/json",
    ".html": "text/html",
    ".png": "image/png",
    ".csv": "text/csv",
    ".py": "text/x-python",
    ".sql": "application/sql",
    ".md": "text/markdown",
    ".tsr": "application/timestamp-reply",
}
_GUIDE = """# {name}

{sentence}

Record {sha256}. To check this folder: `python verify.py`, with Python and numpy. It compares every file with
record.json, derives the verdict again, and computes the results again from the days where they are here. Files that
are not here are named in record.json with their hashes. Compare the two hashes that it prints with those that were
published: one is of the record, the other of all that is here. {access}
"""


@dataclass(frozen=True)
class CrateOptions:
    """What is said of a crate beside its contents.

    Attributes:
        author: name of the author, who belongs to the publisher.
        author_orcid: address of the author's ORCID.
        publisher: name of the publishing organization.
        publisher_url: its address.
        license: address of the licence of the data and results.
        access: on what conditions the days that are left out can be had.
        doi: the crate's own DOI, None without one.
    """

    author: str
    author_orcid: str
    publisher: str
    publisher_url: str
    license: str
    access: str
    doi: str | None


def crate_options(settings: Settings, doi: str | None) -> CrateOptions:
    """What the settings say of a crate.

    Raises:
        ConfigError: a setting that every crate needs is not set; the message names each.
    """
    values = {name: getattr(settings, f"americano_crate_{name}") for name in (*_REQUIRED, "access")}
    if missing := [f"AMERICANO_CRATE_{name.upper()}" for name in _REQUIRED if not values[name]]:
        raise ConfigError(f"{', '.join(missing)}: a crate names its author, publisher and licence; set each of these")
    return CrateOptions(**values, doi=doi)


@dataclass(frozen=True)
class WrittenCrate:
    """A crate that was written.

    Attributes:
        sha256: hash of the file.
        contents_sha256: hash of the list of all files in it, which `verify.py` prints too; another packing keeps it.
    """

    sha256: str
    contents_sha256: str


def write_crate(paths: DataFolder, contents: CrateContents, options: CrateOptions, target: Path) -> WrittenCrate:
    """Write a crate.

    Args:
        paths: whose data folder is used for the work.
        contents: what goes into it.
        options: who made it and on what terms.
        target: the ZIP file; one that is there is replaced.

    Returns:
        Its hashes.
    """
    with reader_temporary_folder(paths.spill, "crate") as folder:
        inside = folder / "crate"
        for name, content in {**contents.files, GUIDE: _guide(contents, options)}.items():
            path = inside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        crate = _build_crate(inside, contents, options)
        crate.metadata.write(inside)
        listing = _listing(inside)
        (inside / LISTING).write_bytes(listing)
        packed = Path(shutil.make_archive(str(folder / "packed"), "zip", inside))
        with atomic_files.atomic_write_path(target) as aside:
            shutil.copyfile(packed, aside)
        return WrittenCrate(file_sha256(target), sha256_hex(listing))


def _listing(folder: Path) -> bytes:
    """Every file with its hash, by name."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return "".join(f"{file_sha256(path)}  {name}\n" for name, path in sorted(files.items())).encode()


def _title(record: Record) -> str:
    of_subject = f" of {record.identity.subject}" if record.identity.subject else ""
    return f"{record.identity.analysis.replace('_', ' ')}{of_subject}"


def _guide(contents: CrateContents, options: CrateOptions) -> bytes:
    access = "" if contents.has_days else f"The days are not here. {options.access}"
    record = contents.record
    text = _GUIDE.format(
        name=_title(record), sentence=record.sentence_with_compliance, sha256=contents.sha256, access=access
    )
    return text.encode()


def _build_crate(folder: Path, contents: CrateContents, options: CrateOptions) -> "ROCrate":
    """The crate's description of the files in a folder."""
    from rocrate.rocrate import ROCrate

    record, crate = contents.record, ROCrate(version="1.1")
    publisher = _entity(crate, options.publisher_url, "Organization", name=options.publisher, url=options.publisher_url)
    author = _entity(crate, options.author_orcid, "Person", name=options.author)
    author["affiliation"] = publisher
    license_ = _entity(
        crate, options.license, "CreativeWork", name=options.license, description="Licence of data and results.",
        url=options.license,
    )  # fmt: skip
    root = crate.root_dataset
    root["conformsTo"] = _entity(crate, _PROFILE, "CreativeWork", name="Process Run Crate", version="0.5")
    crate.name, crate.description = _title(record), record.sentence_with_compliance
    crate.datePublished = datetime.now(UTC).date().isoformat()
    root["author"], root["publisher"], root["license"] = author, publisher, license_
    root["identifier"] = f"https://doi.org/{options.doi}" if options.doi else f"urn:sha256:{contents.sha256}"
    listed = {name: _file(crate, folder, name) for name in (*contents.files, GUIDE) if not name.startswith(MODULES)}
    # Its hash is not known yet: the list has the hash of this description.
    crate.add_file(folder / LISTING, LISTING, properties=_description(LISTING))
    results = [
        entity for name, entity in listed.items() if name in record.artifacts and name not in {DAYS, LOCK_FILE, DIFF}
    ]
    action = _entity(
        crate,
        "#analysis",
        "CreateAction",
        name=_title(record),
        description=record.sentence_with_compliance,
        startTime=_seconds(record.identity.started_at),
        endTime=_seconds(record.identity.ended_at),
        actionStatus="http://schema.org/CompletedActionStatus",
    )
    action["agent"], action["instrument"] = author, _software(crate, contents, folder)
    action["object"] = listed[DAYS] if DAYS in listed else _withheld_days(crate, record, options)
    action["result"] = _single_or_list([*results, listed[RECORD_FILE]])
    root["mentions"] = action
    root["additionalProperty"] = [_property(crate, name, value) for name, value in _properties(contents).items()]
    return crate


def _seconds(time: str) -> str:
    """A time as the profile's checks accept it: without fractions of a second."""
    return datetime.fromisoformat(time).isoformat(timespec="seconds")


def _file(crate: "ROCrate", folder: Path, name: str) -> "Entity":
    path = folder / name
    properties = _description(name) | {
        "contentSize": str(path.stat().st_size),
        "identifier": f"urn:sha256:{file_sha256(path)}",
    }
    return crate.add_file(path, name, properties=properties)


def _description(name: str) -> dict[str, str]:
    """What people and programs want to know of a file before they open it."""
    suffix = Path(name).suffix
    return {
        "name": name,
        "description": _DESCRIPTIONS.get(name, f"{suffix.removeprefix('.')} of the analysis"),
        "encodingFormat": _FORMATS.get(suffix, "text/plain"),
    }


def _software(crate: "ROCrate", contents: CrateContents, folder: Path) -> "Entity":
    """The software that made the results: this package at a commit, with the recorded modules."""
    code = contents.record.code
    address = (
        code.repository if code.repository.startswith("https://") else "https://pypi.org/project/americano-pipelines"
    )
    software = _entity(
        crate,
        f"{address}#{code.commit}",
        "SoftwareApplication",
        name="americano_pipelines",
        url=address,
        version=f"{version('americano-pipelines')}, commit {code.commit}{' with changes' if code.dirty else ''}",
        description=f"Version {contents.record.identity.analysis_version} of the analysis.",
    )
    if (folder / MODULES).is_dir():
        modules = crate.add_directory(
            folder / MODULES,
            MODULES,
            properties={"name": "modules", "description": "The modules that the analysis ran with."},
        )
        software["hasPart"] = modules
    return software


def _withheld_days(crate: "ROCrate", record: Record, options: CrateOptions) -> "Entity":
    days = record.artifacts.get(DAYS)
    sha256 = days.sha256 if days is not None else record.extract_sha256
    return _entity(
        crate,
        "#days",
        "CreativeWork",
        name="the days of the analysis, which are not in this crate",
        description="Not here; the identifier is the hash of the file.",
        identifier=f"urn:sha256:{sha256}",
        conditionsOfAccess=options.access,
    )


def _properties(contents: CrateContents) -> dict[str, str]:
    """What a reader looks for first, by name."""
    record, standing = contents.record, contents.record.standing
    properties = {
        "record sha256": contents.sha256,
        "extract sha256": record.extract_sha256,
        "snapshot": record.inputs[0].snapshot_id if record.inputs else "none",
        "verdict": record.verdict or "none",
        "place in the chain of records": str(record.chain.number) if record.chain else "none",
        "left out": ", ".join(contents.withheld) or "nothing",
    }
    if standing is not None:
        properties |= {"standing": standing.label, "deviations from the plan": "; ".join(standing.reasons) or "none"}
        if standing.plan_seen is not None:
            properties["plan sha256"] = standing.plan_seen.plan_sha256
            properties[f"plan {standing.plan_seen.event}"] = standing.plan_seen.first_seen_at
    return properties


def _property(crate: "ROCrate", name: str, value: str) -> "Entity":
    return _entity(crate, f"#{name.replace(' ', '-')}", "PropertyValue", name=name, value=value)


def _entity(crate: "ROCrate", address: str, kind: str, **properties: Any) -> "Entity":  # noqa: ANN401 - JSON-LD
    from rocrate.model.contextentity import ContextEntity

    return crate.add(ContextEntity(crate, address, properties={"@type": kind, **properties}))


def _single_or_list(entities: "list[Entity]") -> "Entity | list[Entity]":
    return entities[0] if len(entities) == 1 else entities
