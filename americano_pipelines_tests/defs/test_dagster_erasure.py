"""Which of Dagster's runs a purge takes, and which it has to wait for."""

from pathlib import Path

import dagster as dg
import pytest

from americano_pipelines.defs import dagster_storage
from americano_pipelines.defs.dagster_erasure import mentions, runs_of, runs_under_way
from americano_pipelines.defs.job_names import NIGHTLY


@dg.op
def nothing() -> None:
    pass


@dg.job
def analyses() -> None:
    nothing()


@dg.job(name=NIGHTLY)
def nightly() -> None:
    nothing()


@pytest.fixture
def instance() -> "dg.DagsterInstance":
    return dg.DagsterInstance.ephemeral()


def test_runs_that_ended_go_by_protocol_or_by_name_and_no_others(instance: dg.DagsterInstance) -> None:
    def run(status: dg.DagsterRunStatus, protocol_id: str) -> str:
        tags = {"dagster/partition": protocol_id}
        return instance.create_run_for_job(analyses, status=status, tags=tags).run_id

    failed, done = run(dg.DagsterRunStatus.FAILURE, "theirs"), run(dg.DagsterRunStatus.SUCCESS, "theirs")
    named, _ = run(dg.DagsterRunStatus.SUCCESS, "a"), run(dg.DagsterRunStatus.SUCCESS, "b")
    run(dg.DagsterRunStatus.STARTED, "theirs")

    assert runs_of(instance, {"theirs"}, {named, "no such run"}) == sorted([failed, done, named])
    assert runs_of(instance, set(), set()) == []


@pytest.mark.parametrize(
    ("learner", "text", "taken"),
    [
        ("kim-lee", "learner kim-lee left", "both"),
        ("kim-lee", "left:\nkim-lee", "both"),
        ("kim-lee", "kim-lee2, old-kim-lee", "none"),
        ("Jürgen", "not a number:\n'Jürgen'", "both"),
        ("org\\kim", 'value "org\\kim"', "both"),
        ("7", "took 7 s", "none"),
        ("7", 'not a uuid: "7"', "sync"),
    ],
)
def test_runs_that_mention_the_learner_go(tmp_path: Path, learner: str, text: str, taken: str) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        status = dg.DagsterRunStatus.FAILURE
        runs = {
            name: instance.create_run_for_job(job, status=status, tags={"note": text}).run_id
            for name, job in (("sync", nightly), ("analysis", analyses))
        }
        instance.create_run_for_job(nightly, status=status)

        names = {item.name for item in mentions(instance, learner)}

        assert names == {"both": set(runs.values()), "sync": {runs["sync"]}, "none": set()}[taken]


def test_private_names_are_those_of_the_release_they_were_seen_on() -> None:
    """After an upgrade, check `defs/dagster_storage.py`, run the tests of purge and retention, and name the release."""
    assert dg.__version__ == dagster_storage.CHECKED_DAGSTER_VERSION


def test_a_run_at_work_is_told_unless_it_is_a_sync(instance: dg.DagsterInstance) -> None:
    busy = instance.create_run_for_job(analyses, status=dg.DagsterRunStatus.STARTED)
    instance.create_run_for_job(analyses, status=dg.DagsterRunStatus.SUCCESS)
    instance.create_run_for_job(nightly, status=dg.DagsterRunStatus.STARTED)

    assert runs_under_way(instance) == [busy.run_id]
