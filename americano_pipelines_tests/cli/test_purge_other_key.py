"""`americano purge` with another key than the pseudonyms were made with, and after a purge that was killed."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.provenance.archive import extracts_dir, put
from americano_pipelines.settings import Settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.conftest import Database, Done, environment
from americano_pipelines_tests.sync.support import sync

Cli = Callable[..., Done]
LEARNER = "learner_1"
ERASE = """DELETE FROM behavioral_events WHERE "userId" = 'learner_1';
DELETE FROM analysis_runs; DELETE FROM phase_assignments WHERE "protocolId" = 'protocol_1';
DELETE FROM experiment_protocols WHERE "userId" = 'learner_1'"""


def extract_of(settings: Settings, learner: str, protocol_id: str) -> Path:
    """Keep an extract as far as it says whose it is."""
    text = {"protocol": {"learner": pseudonym(settings, learner), "protocol_id": protocol_id}}
    return put(extracts_dir(settings), json.dumps(text).encode())[0]


@pytest.mark.parametrize(
    ("content", "card"),
    [
        (None, True),
        (b"", True),
        (b"1" * 64, True),
        pytest.param(b"1" * 64, False, id="replaced under an earlier release"),
    ],
)
@pytest.mark.slow
def test_with_another_key_a_learner_is_found_by_protocol_and_what_is_not_reached_is_told(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings], content: bytes | None, *, card: bool
) -> None:
    values = prisma.variables(americano_snapshots_kept=1)
    settings = settings_for(**values)
    sync(settings)
    theirs, others = extract_of(settings, LEARNER, "protocol_1"), extract_of(settings, "learner_0", "protocol_0")
    unknown = extract_of(settings, LEARNER, "of no snapshot")
    key = settings.data_dir / "pseudonym.key"
    right = key.read_bytes()
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    if not card:
        (settings.data_dir / "pseudonym.json").unlink()
    prisma.execute(ERASE)

    # The sync in it removes the snapshot that knew the protocols: they are looked up before.
    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 1
    assert "pseudonym.key" in done.err
    assert f"no kept snapshot has their protocols: {unknown.stem[:12]}. Purge once more with the key" in done.err
    assert theirs.stem in done.json["removed"]
    assert not theirs.exists()
    assert others.exists()
    assert unknown.exists()
    # With the right key nothing is out of reach.
    key.write_bytes(right)
    again = cli("purge", "--learner", LEARNER, "--json", **values)
    assert again.code == 0, again.err
    assert not unknown.exists()
    assert others.exists()


HALF_WAY = """
import shutil, time
from americano_pipelines.defs.erase import find_items
from americano_pipelines.settings import load_settings
copy = shutil.copyfile
def copy_and_stop(source, target):
    copy(source, target)
    print("copied", flush=True)
    time.sleep(600)
shutil.copyfile = copy_and_stop
find_items(load_settings(), "learner_1")
"""
HOLDING = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"


def test_a_copy_that_a_killed_purge_made_of_a_held_snapshot_goes_with_the_next(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    first = sync(settings)
    sync(settings, full=True)
    assert first.path is not None
    shell = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(first.path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "held\n"
        killed = subprocess.Popen(
            [sys.executable, "-c", HALF_WAY],
            env=environment(settings.data_dir, **values),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert killed.stdout is not None
        assert killed.stdout.readline() == "copied\n"
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    finally:
        shell.communicate("")
    (left,) = settings.spill_dir.rglob("copy.duckdb")
    assert LEARNER.encode() in left.read_bytes(), "the test looks where there was something"
    prisma.execute(ERASE)

    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 0, done.err
    files = [path for path in settings.data_dir.rglob("*") if path.is_file()]
    assert [path for path in files if LEARNER.encode() in path.read_bytes()] == []
    assert snapshots.current(settings) is not None
