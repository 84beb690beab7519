"""The hash in the app's row is looked at too, when there is an app."""

import pytest

from americano_pipelines.app_database import statements
from americano_pipelines.app_database.column_values import derived_row_id
from americano_pipelines.errors import AnalysisError, TamperedError
from americano_pipelines.mlflow_store.runs import HASH_TAG
from americano_pipelines.provenance import app_link
from americano_pipelines.provenance.recorder import Recorded
from americano_pipelines.provenance.verify.findings import Status
from americano_pipelines.provenance.verify.verification import Verification, verify
from americano_pipelines.settings import Settings
from americano_pipelines_tests.prisma_database import ABAB, ROLE
from americano_pipelines_tests.provenance.conftest import Lab, faults, finding, remembered, run_id

ROW = "the app's row"


def looked(settings: Settings, name: str) -> Verification:
    return verify(settings, name, remembered, again=False)


def analysis_with_row(lab: Lab, linked: Settings, dagster_run: str) -> tuple[Recorded, str]:
    """A recorded analysis, and the id of the app's row that it completed."""
    recorded = lab.analyse(dagster_run=dagster_run)
    assert linked.app is not None
    asset, app_type = "analysis/abab_randomization", "ABAB_RANDOMIZATION"
    row = statements.create(linked.app, dagster_run, asset, "protocol_1", app_type, dagster_run, {})
    app_link.complete(linked.app, row, recorded.record)
    return recorded, row


def test_the_row_as_it_was_completed_edited_and_gone(lab: Lab, linked: Settings) -> None:
    assert linked.app is not None
    statements.claim(linked.app, "run_1", "took run_1", ABAB)
    recorded = lab.analyse(row="run_1", dagster_run="took run_1")
    assert faults(looked(linked, "run_1")) == {ROW: Status.MISSING}, "it is RUNNING, and has no hash"

    app_link.complete(linked.app, "run_1", recorded.record)
    assert faults(looked(linked, "run_1")) == {}
    assert finding(looked(linked, "run_1"), ROW).status is Status.MATCH

    edit = 'UPDATE analysis_runs SET "resultsSummary" = \'{"provenance_sha256": "0"}\' WHERE id = \'run_1\''
    lab.database.execute(edit)
    assert faults(looked(linked, "run_1")) == {ROW: Status.DRIFT}
    lab.database.execute("DELETE FROM analysis_runs WHERE id = 'run_1'")
    assert faults(looked(linked, run_id(recorded))) == {ROW: Status.MISSING}


def test_a_row_that_was_run_again_has_gone_on_to_the_later_record(lab: Lab, linked: Settings) -> None:
    first, last = (lab.analyse(row="run_0", dagster_run=f"took run_0 {time}") for time in range(2))
    assert linked.app is not None
    statements.claim(linked.app, "run_0", "took run_0 1", ABAB)
    app_link.complete(linked.app, "run_0", last.record)

    verification = looked(linked, run_id(first))

    assert faults(verification) == {}
    assert (finding(verification, ROW).status, last.sha256 in finding(verification, ROW).detail) == (
        Status.NOT_RECORDED,
        True,
    )
    assert looked(linked, "run_0").subject.sha256 == last.sha256

    def in_dagster(_: object) -> list[str]:
        return [last.sha256]

    invented = faults(verify(linked, run_id(first), in_dagster, again=False))
    assert invented == {"Dagster's metadata": Status.DRIFT, ROW: Status.DRIFT}, "anybody can write an earlier one"


def test_an_analysis_without_row_is_looked_for_under_its_derived_id(lab: Lab, linked: Settings) -> None:
    recorded = lab.analyse()
    assert linked.app is not None
    assert finding(looked(linked, run_id(recorded)), ROW).status is Status.NOT_RECORDED

    by = recorded.record.orchestrator
    statements.create(
        linked.app,
        str(by["dagster_run_id"]),
        str(by["asset_key"]),
        "protocol_1",
        "ABAB_RANDOMIZATION",
        "afterwards",
        {},
    )
    assert faults(looked(linked, run_id(recorded))) == {ROW: Status.MISSING}
    app_link.complete(
        linked.app, derived_row_id(str(by["dagster_run_id"]), str(by["asset_key"]), by["partition"]), recorded.record
    )
    assert finding(looked(linked, run_id(recorded)), ROW).status is Status.MATCH


EDITS = {
    "protocolId": ("\"protocolId\" = 'protocol_0'", "column protocolId"),
    "analysisType": ("\"analysisType\" = 'BAYESIAN_ITS'", "column analysisType"),
    "status": ("status = 'FAILED'", "column status"),
    "codeCommitHash": ("\"codeCommitHash\" = 'c0ffee'", "column codeCommitHash"),
    "dataVersionHash": ("\"dataVersionHash\" = '0'", "column dataVersionHash"),
    "inputParams": ("\"inputParams\" = jsonb_set(\"inputParams\", '{alpha}', '0.5')", "column inputParams"),
    "mlflowRunId": ("\"mlflowRunId\" = '0'", "column mlflowRunId"),
    "artifactPaths": ('"artifactPaths" = "artifactPaths"[2:]', "column artifactPaths"),
    "startedAt": ("\"startedAt\" = '2025-01-01'", "column startedAt"),
    "completedAt": ('"completedAt" = NULL', "column completedAt"),
    "durationSeconds": ('"durationSeconds" = 99', "column durationSeconds"),
    "errorMessage": ("\"errorMessage\" = 'it failed'", "column errorMessage"),
    "sentence": (
        """"resultsSummary" = jsonb_set("resultsSummary", '{sentence}', '"A benefit."')""",
        "column resultsSummary.sentence",
    ),
    "verdict": (
        """"resultsSummary" = jsonb_set("resultsSummary", '{verdict}', '"benefit"')""",
        "column resultsSummary.verdict",
    ),
    "p": (
        """"resultsSummary" = jsonb_set("resultsSummary", '{numbers,p}', '0.0001')""",
        "column resultsSummary.numbers",
    ),
    "standing": (
        """"resultsSummary" = jsonb_set("resultsSummary", '{standing,planned}', '7')""",
        "column resultsSummary.standing",
    ),
    "verdict removed": (""""resultsSummary" = "resultsSummary" - 'verdict'""", "column resultsSummary.verdict"),
}  # fmt: skip


@pytest.mark.slow
def test_every_column_of_the_row_is_compared(lab: Lab, linked: Settings) -> None:
    recorded, row = analysis_with_row(lab, linked, "columns")
    clean = looked(linked, run_id(recorded))
    assert faults(clean) == {}
    compared = {item.what for item in clean.findings if item.group == "app row" and item.status is Status.MATCH}
    present = {name for (name,) in lab.database.execute(
        "SELECT column_name FROM information_schema.columns WHERE table_name = 'analysis_runs'"
    )}  # fmt: skip
    written = present & {"protocolId", "analysisType", *app_link.row_values(recorded.record)}
    assert {f"column {name}" for name in written - {"resultsSummary"}} <= compared
    assert written >= EDITS.keys() & present

    lab.database.execute(f"CREATE TABLE kept AS SELECT * FROM analysis_runs WHERE id = '{row}'")
    for name, (edit, what) in EDITS.items():
        if name not in present and what.partition(".")[0] != "column resultsSummary":
            continue
        lab.database.execute(f"UPDATE analysis_runs SET {edit} WHERE id = '{row}'")
        listed_faults = faults(looked(linked, run_id(recorded)))
        assert listed_faults == {what: Status.MISSING if name == "verdict removed" else Status.DRIFT}, name
        lab.database.execute(f"DELETE FROM analysis_runs WHERE id = '{row}'")
        lab.database.execute("INSERT INTO analysis_runs SELECT * FROM kept")
    lab.database.execute("DROP TABLE kept")
    lab.database.execute(
        f"""UPDATE analysis_runs SET "resultsSummary" = "resultsSummary" || '{{"note": "mine"}}' WHERE id = '{row}'"""
    )
    added = looked(linked, run_id(recorded))
    assert faults(added) == {}
    assert finding(added, "column resultsSummary.note").status is Status.EXTRA


def test_a_column_that_the_role_may_not_read_is_named(lab: Lab, linked: Settings) -> None:
    recorded, _ = analysis_with_row(lab, linked, "closed")
    readable = '"id", "protocolId", "analysisType", "status", "resultsSummary"'
    lab.database.execute(f"REVOKE SELECT ON analysis_runs FROM americano_link; "
                         f"GRANT SELECT ({readable}) ON analysis_runs TO americano_link")  # fmt: skip
    try:
        verification = looked(linked, run_id(recorded))
    finally:
        lab.database.execute(ROLE)

    assert faults(verification) == {}
    assert finding(verification, "column codeCommitHash").status is Status.NOT_RECORDED


def test_a_row_whose_id_is_the_empty_text(lab: Lab, linked: Settings) -> None:
    recorded = lab.analyse(row="", dagster_run="no id")
    assert linked.app is not None
    row = statements.create(
        linked.app, "no id", "analysis/abab_randomization", "protocol_1", "ABAB_RANDOMIZATION", "no id", {}
    )
    lab.database.execute(f"UPDATE analysis_runs SET id = '' WHERE id = '{row}'")
    app_link.complete(linked.app, "", recorded.record)

    verification = looked(linked, "")

    assert (verification.subject.sha256, faults(verification)) == (recorded.sha256, {})
    assert finding(verification, ROW).status is Status.MATCH


def test_mlflows_copy_is_taken_only_if_the_row_confirms_it(lab: Lab, linked: Settings) -> None:
    recorded, _ = analysis_with_row(lab, linked, "vouched")
    content = recorded.path.read_bytes()
    lab.store.client.delete_tag(run_id(recorded), HASH_TAG)
    recorded.path.unlink()

    verification = verify(linked, run_id(recorded), lambda _: [], again=False)

    assert verification.subject.taken_from == "MLflow's copy, because the archive's copy is gone"
    assert faults(verification) == dict.fromkeys(
        ("file in the archive", f"MLflow tag {HASH_TAG}", "Dagster's metadata"), Status.MISSING
    )
    with pytest.raises(TamperedError, match="no other place knows that hash"):
        lab.verify(run_id(recorded), lambda _: [])
    lab.artifact(recorded, "provenance/record.json").unlink()
    with pytest.raises(AnalysisError, match="has no record: it is FINISHED"):
        lab.verify(run_id(recorded), lambda _: [])
    lab.store.client.set_tag(run_id(recorded), HASH_TAG, recorded.sha256)
    with pytest.raises(TamperedError, match=f"only its hash is left, {recorded.sha256}"):
        lab.verify(run_id(recorded), lambda _: [])
    recorded.path.write_bytes(content)


def test_another_row_that_shows_the_record_is_found(lab: Lab, linked: Settings) -> None:
    """Its text may say anything, with a hash that verifies."""
    recorded, row = analysis_with_row(lab, linked, "copied")
    assert faults(looked(linked, run_id(recorded))) == {}
    changes = {
        "by hash": '"mlflowRunId" = NULL',
        "by run": '"resultsSummary" = \'{"sentence": "Benefit."}\'',
    }
    for name, change in changes.items():
        lab.database.execute("CREATE TABLE copy AS SELECT * FROM analysis_runs WHERE id = %s", (row,))
        lab.database.execute(f"UPDATE copy SET id = %s, {change}", (name,))
        lab.database.execute("INSERT INTO analysis_runs SELECT * FROM copy")
        assert faults(looked(linked, run_id(recorded))) == {f"row {name}": Status.DRIFT}
        lab.database.execute("DELETE FROM analysis_runs WHERE id = %s", (name,))
        lab.database.execute("DROP TABLE copy")


def test_a_row_from_before_a_field_of_the_standing_was_added_is_as_it_was(lab: Lab, linked: Settings) -> None:
    recorded, row = analysis_with_row(lab, linked, "older release")
    older = '"resultsSummary" = "resultsSummary" #- \'{standing,declared}\''
    lab.database.execute(f"UPDATE analysis_runs SET {older} WHERE id = %s", (row,))
    assert faults(looked(linked, run_id(recorded))) == {}

    changed = '"resultsSummary" = jsonb_set("resultsSummary", \'{standing,reasons}\', \'["none"]\')'
    lab.database.execute(f"UPDATE analysis_runs SET {changed} WHERE id = %s", (row,))
    assert faults(looked(linked, run_id(recorded))) == {"column resultsSummary.standing": Status.DRIFT}
