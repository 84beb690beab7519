"""A group of protocols from the shell: analysed, listed, verified, compared, packed, and purged for each learner."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines_tests.conftest import Database, Done
from americano_pipelines_tests.provenance.crate.crates import NAMES, bare_python, findings, unpacked, verified

Cli = Callable[..., Done]
_PLAN = '{"type": "MULTIPLE_BASELINE", "group": "spelling", "improvement": "increase", "alpha": 0.2}'
_LEARNERS = ("learner_0", "learner_1")


@pytest.fixture
def group(prisma: Database) -> dict[str, Any]:
    """Two protocols of 28 days that form a multiple baseline, with every event of their learners scored."""
    prisma.execute(
        "UPDATE experiment_protocols SET \"designType\" = 'MULTIPLE_BASELINE', \"endDate\" = '2025-02-07'; "
        "DELETE FROM phase_assignments WHERE right(id, 1) IN ('3', '4')"
    )
    for protocol, baseline in enumerate((8, 14)):
        for phase, (first, days) in enumerate(((0, baseline), (baseline, 28 - baseline)), 1):
            prisma.execute(
                "UPDATE phase_assignments SET \"startDate\" = timestamp '2025-01-10' + %s * interval '1 day', "
                "\"endDate\" = timestamp '2025-01-10' + %s * interval '1 day', \"plannedDuration\" = %s, "
                '"interventionParams" = %s WHERE id = %s',
                (
                    first,
                    first + days,
                    days,
                    f'{{"analysis": {_PLAN}, "randomization": {{"minDays": 5, "maxDays": 23, "staggerDays": 3}}}}',
                    f"phase_{protocol}_{phase}",
                ),
            )
    prisma.execute(
        'UPDATE behavioral_events SET "sessionPerformanceScore" = (hashtext(id) % 10 + 50 + CASE WHEN "timestamp" >= '
        "CASE WHEN \"userId\" = 'learner_0' THEN timestamp '2025-01-18' ELSE timestamp '2025-01-24' END "
        "THEN 15 ELSE 0 END) WHERE \"userId\" IN ('learner_0', 'learner_1')"
    )
    return prisma.variables()


def test_a_group_is_analysed_and_what_is_recorded_can_be_checked(
    cli: Cli, group: dict[str, Any], tmp_path: Path
) -> None:
    assert cli("sync", **group).code == 0

    done = cli("analyse", "multiple_baseline", "spelling", "--json", **group)

    assert done.code == 0, done.out + done.err
    (first,) = done.json
    assert (first["protocol_id"], first["protocol"]) == ("spelling", "group spelling")
    assert (first["verdict"], first["standing"]) == ("benefit", "declared"), first["sentence"]
    record = json.loads((tmp_path / "data" / "provenance" / f"{first['sha256']}.json").read_text())
    assert (record["identity"]["group"], record["identity"]["protocol_id"]) == ("spelling", None)
    assert record["results"]["test"]["assignments"] == 19 * 19 - 19 - 2 * 18 - 2 * 17
    assert set(record["artifacts"]) >= {"phases.png", "distribution.png", "report.html", "days.json", "daily.csv"}

    verification = cli("verify", first["sha256"], "--rerun", "--json", **group).json
    assert verification["verified"], verification
    assert verification["group"] == "spelling"
    statuses = {finding["what"]: finding["status"] for finding in verification["findings"]}
    assert statuses["extract, read again from its snapshot"] == "MATCH"
    assert statuses["data"] == "SAME"
    assert statuses["multiple_baseline on its extract"] == "REPEATED"

    second = cli("analyse", "multiple_baseline", "spelling", "--set", "alpha=0.1", "--json", **group).json[0]
    assert second["standing"] == "exploratory"
    assert "it is not the first of its kind after the end" in second["sentence"]
    assert "1 analysis of this group came before it" in second["sentence"]
    listed = cli("runs", "--json", **group).json
    assert [run["protocol"] for run in listed] == ["group spelling"] * 2
    verdicts = {verdict["protocol_id"]: verdict for verdict in cli("verdicts", "--json", **group).json}
    assert verdicts["group spelling"]["verdict"] == "benefit"
    assert cli("compare", first["sha256"], second["sha256"], **group).code == 0

    crate, report = _check_crate(cli, tmp_path, first["sha256"], group)
    right = [words for status, words in report["findings"] if status == "ok"]
    assert any("by numpy alone: p = " in words for words in right)
    assert any("by the modules: " in words for words in right)

    for learner in _LEARNERS:
        listed_items = cli("purge", "--learner", learner, "--dry-run", "--json", **group).out
        for name in (record["extract_sha256"], str(crate), first["mlflow_run_id"], first["dagster_run_id"]):
            assert name in listed_items, f"{learner}: {name}"


@pytest.mark.slow
def test_a_group_that_lost_a_protocol_or_its_memory_is_exploratory(
    cli: Cli, group: dict[str, Any], prisma: Database, tmp_path: Path
) -> None:
    assert cli("sync", **group).code == 0
    prisma.execute(
        'UPDATE phase_assignments SET "interventionParams" = %s WHERE "protocolId" = %s',
        ('{"analysis": {"type": "MULTIPLE_BASELINE"}}', "protocol_1"),
    )
    assert cli("sync", **group).code == 0

    (run,) = cli("analyse", "multiple_baseline", "spelling", "--json", **group).json

    assert run["standing"] == "exploratory"
    assert "the protocol protocol_1 left the group, which was first seen on " in run["sentence"]
    assert "is lost" not in run["sentence"]

    (snapshots,) = (tmp_path / "data").rglob("snapshots")
    shutil.rmtree(snapshots)
    for file in snapshots.parent.glob("*.duckdb"):
        file.unlink()
    assert cli("sync", **group).code == 0
    (run,) = cli("analyse", "multiple_baseline", "spelling", "--json", **group).json

    assert "which protocols the group had before" in run["sentence"]
    assert "the published file of then is lost" in run["sentence"]


def _check_crate(cli: Cli, folder: Path, sha256: str, values: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
    """Write the crate of a record, verify it by the program in it, and search one without data for learners."""
    crate, inside = folder / f"{sha256}.zip", folder / sha256
    written = cli("crate", sha256, "--output", str(crate), **values, **NAMES)
    assert written.code == 0, written.err
    assert findings(crate, folder / "profiles") == []
    code, report = verified(bare_python(folder / f"python {sha256}"), unpacked(crate, inside), folder)
    assert code == 0, [finding for finding in report["findings"] if finding[0] == "FAULT"]
    without = folder / f"{sha256} without data.zip"
    assert cli("crate", sha256, "--without-data", "--output", str(without), **values, **NAMES).code == 0
    files = unpacked(without, folder / f"{sha256} without data").rglob("*")
    content = b"".join(path.read_bytes() for path in files if path.is_file())
    assert [learner for learner in _LEARNERS if learner.encode() in content] == []
    return crate, report


@pytest.mark.slow
def test_planned_tests_are_combined_and_a_changed_record_is_found(cli: Cli, prisma: Database, tmp_path: Path) -> None:
    prisma.execute("UPDATE experiment_protocols SET \"endDate\" = '2025-03-07'")
    plan = '{"type": "ABAB_RANDOMIZATION", "group": "study", "improvement": "increase", "include": "declared"}'
    prisma.execute(
        'UPDATE phase_assignments SET "interventionParams" = %s',
        (f'{{"analysis": {plan}, "randomization": {{"minDays": 7, "maxDays": 21}}}}',),
    )
    values = prisma.variables()
    assert cli("sync", **values).code == 0

    early = cli("analyse", "combined", "study", "--json", **values).json[0]
    assert early["standing"] == "exploratory"
    assert "no randomization test is recorded yet" in early["sentence"]

    done = cli("analyse", "--all", "--only", "abab_randomization", "--only", "combined", "--json", **values)

    assert done.code == 0, done.out + done.err
    first, second, combined = done.json
    assert (combined["analysis"], combined["protocol"], combined["standing"]) == ("combined", "group study", "declared")
    record = json.loads((tmp_path / "data" / "provenance" / f"{combined['sha256']}.json").read_text())
    assert [row["record"] for row in record["results"]["experiments"]] == [first["sha256"], second["sha256"]]
    assert record["results"]["left out"] == []
    # An exploratory analysis afterwards is no part of the recorded input.
    assert cli("analyse", "Protocol 1", "--only", "abab_randomization", "--set", "alpha=0.2", **values).code == 0
    verification = cli("verify", combined["sha256"], "--rerun", "--json", **values).json
    assert verification["verified"], verification
    statuses = {finding["what"]: finding["status"] for finding in verification["findings"]}
    assert statuses["extract, read again from its snapshot"] == "MATCH"
    assert statuses["combined on its extract"] == "REPEATED"

    crate, report = _check_crate(cli, tmp_path, combined["sha256"], values)
    assert ["ok", "the plan and the phases have the recorded hashes"] in report["findings"]
    again = cli("verify", str(crate), "--json", **values).json
    assert any("done again as a whole gives the sentence" in finding["what"] for finding in again["findings"]), again
    for learner in _LEARNERS:
        assert str(crate) in cli("purge", "--learner", learner, "--dry-run", "--json", **values).out

    file = tmp_path / "data" / "provenance" / f"{first['sha256']}.json"
    file.chmod(0o600)
    file.write_bytes(file.read_bytes().replace(b'"verdict":', b'"verdict": '))
    verification = cli("verify", combined["sha256"], "--json", **values).json
    assert not verification["verified"], "a record that it was made from was changed"
