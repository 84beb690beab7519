"""Records, extracts, reports and pictures of analyses, for those who may see the protocol; verification on demand."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from americano_pipelines.provenance.archive import put
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines_tests.provenance.conftest import Lab, lab  # noqa: F401 - a fixture
from americano_pipelines_tests.provenance.records import kept_record
from americano_pipelines_tests.serving.conftest import Api, start
from americano_pipelines_tests.serving.published import learner_of, publish_example, tables

PARTS = ("provenance", "comparisons", "extract", "report.html", "pictures/series.png", "verify")


@dataclass(frozen=True)
class Recording:
    """A service over a file whose runs of learner-1 and learner-2 have records; also a record of no run."""

    api: Api
    of_1: str
    of_2: str
    of_all: str


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    folder = tmp_path_factory.mktemp("records")
    settings = publish_example(folder / "data")
    hashes = {}
    for learner in ("learner-1", "learner-2"):
        content = json.dumps({"days of": learner}).encode()
        _, extract = put(settings.paths.extracts, content)
        _, record = kept_record(settings, protocol_id=f"protocol-{learner}", actor=learner)
        record = record.model_copy(update={"extract_sha256": extract})
        _, hashes[learner] = put(settings.paths.records, record.canonical())
    of_all, _ = kept_record(settings, protocol_id=None, row=None, actor="all learners")
    # The app's rows name the records; that of learner-3 names a record of learner-1.
    of_run = hashes | {"learner-3": hashes["learner-1"]}
    cases = " ".join(f"WHEN 'run-{learner}' THEN '{record}'" for learner, record in of_run.items())
    runs = f"""
        SELECT * REPLACE (
            replace("resultsSummary", '"provenance_sha256": ""',
                '"provenance_sha256": "' || coalesce(CASE id {cases} END, '') || '"') AS "resultsSummary")
        FROM ({tables()["analysis_runs"]})"""
    publish_example(folder / "data", analysis_runs=runs)
    api = start(settings, folder / "api.log", americano_tenants="experiment_protocols.school")
    yield Recording(api, hashes["learner-1"], hashes["learner-2"], of_all)
    api.stop()


def test_a_record_comes_as_it_was_written(recording: Recording) -> None:
    for name in ("run-learner-1", recording.of_1):
        answer = recording.api.get(f"/v1/analyses/{name}/provenance")
        assert answer.status_code == 200
        assert sha256(answer.content).hexdigest() == recording.of_1 == answer.headers["x-americano-sha256"]
        again = recording.api.get(f"/v1/analyses/{name}/provenance", if_none_match=answer.headers["etag"])
        assert (again.status_code, again.content) == (304, b"")


def test_an_extract_comes_as_it_was_read(recording: Recording) -> None:
    answer = recording.api.get("/v1/analyses/run-learner-2/extract")

    assert answer.json() == {"days of": "learner-2"}
    assert sha256(answer.content).hexdigest() == answer.headers["x-americano-sha256"]


@pytest.mark.parametrize("part", PARTS)
def test_what_belongs_to_another_learner_is_not_found(recording: Recording, part: str) -> None:
    api = recording.api
    keys = {
        "learner-1": api.key("learner", learner="learner-1"),
        "learner-2": api.key("read", tenants=("school-2",)),
    }
    others = {"learner-1": recording.of_2, "learner-2": recording.of_1}

    for learner, key in keys.items():
        other = "learner-2" if learner == "learner-1" else "learner-1"
        absent = api.get(f"/v1/analyses/nothing/{part}", key)
        for name in (f"run-{other}", others[learner], recording.of_all, recording.of_all[:12], "run-learner-3"):
            hidden = api.get(f"/v1/analyses/{name}/{part}", key)
            assert (hidden.status_code, hidden.content) == (absent.status_code, absent.content)
            assert learner_of(hidden.text) == set()


def test_a_row_that_names_the_record_of_another_does_not_open_it(recording: Recording) -> None:
    """The row of learner-3 is the app's, and names the record of learner-1."""
    key = recording.api.key("learner", learner="learner-3")

    assert recording.api.get("/v1/analyses/run-learner-3", key).status_code == 200
    assert recording.api.get("/v1/analyses/run-learner-3/provenance", key).status_code == 404


def test_everybody_in_scope_sees_their_own(recording: Recording) -> None:
    api = recording.api
    for key in (api.key("learner", learner="learner-1"), api.key("read", tenants=("school-1",)), api.key("read")):
        for name in ("run-learner-1", recording.of_1):
            assert api.get(f"/v1/analyses/{name}/provenance", key).status_code == 200
            assert api.get(f"/v1/analyses/{name}/extract", key).status_code == 200
    assert api.get(f"/v1/analyses/{recording.of_all}/provenance", api.key("read")).status_code == 200


def test_a_record_that_was_changed_is_not_shown(recording: Recording) -> None:
    changed, _ = kept_record(recording.api.settings, protocol_id="protocol-learner-1", actor="to be changed")
    path = recording.api.settings.paths.records / f"{changed}.json"
    path.chmod(0o600)
    path.write_text(path.read_text().replace("It helped", "It harmed"))
    try:
        answer = recording.api.get(f"/v1/analyses/{changed}/provenance")
    finally:
        path.unlink()

    assert (answer.status_code, answer.json()["code"]) == (500, "changed")
    assert "harmed" not in answer.text


@pytest.mark.parametrize("name", ["..%2f..%2fpseudonym.key", "%2e%2e", "0" * 63, "0" * 65, "Z" * 64, "index.sqlite3"])
def test_names_that_lead_elsewhere_are_not_found(recording: Recording, name: str) -> None:
    assert recording.api.get(f"/v1/analyses/{name}/provenance").status_code in {404, 422}


@pytest.mark.slow
def test_a_recorded_analysis_of_mlflow(lab: Lab, tmp_path: Path) -> None:  # noqa: F811
    """Report and pictures come from MLflow as the record has them; `verify` compares all copies."""
    recorded: Recorded = lab.analyse()
    api = start(lab.settings, tmp_path / "api.log", **lab.database.variables())
    try:
        address = f"/v1/analyses/{recorded.sha256}"
        pictures = [path for path in recorded.record.artifacts if path.endswith(".png")]
        report = api.get(f"{address}/report.html")
        assert report.status_code == 200, report.text
        assert report.headers["content-type"] == "text/html; charset=utf-8"
        assert "sandbox" in report.headers["content-security-policy"]
        assert sha256(report.content).hexdigest() == recorded.record.artifacts["report.html"].sha256
        picture = api.get(f"{address}/pictures/{pictures[0].rpartition('/')[2]}")
        assert picture.content.startswith(b"\x89PNG")
        assert api.get(f"{address}/pictures/other.png").status_code == 404
        verification = api.get(f"{address}/verify")
        assert verification.status_code == 200, verification.text
        assert verification.json()["record"] == recorded.sha256
        assert verification.json()["findings"]
        assert verification.headers["cache-control"] == "no-store"
        assert api.get(f"{address}/verify", api.key("learner", learner="learner_1")).status_code == 403
    finally:
        api.stop()
