"""A purge after processes were killed at work: no byte of the erased learner is left in any file."""

import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, Done, environment
from americano_pipelines_tests.sync.support import sync

Cli = Callable[..., Done]
# Not in the code: an analysis keeps what differs from the commit.
LEARNER, TEXT, LABEL = (f"{word}-{secrets.token_hex(6)}" for word in ("learner", "text", "label"))
# Each prints a line when it is where it is to be killed, and waits there.
SPILLING = """
import time
from americano_pipelines.common.duckdb_session import connect
from americano_pipelines.lake import manifest as lake
from americano_pipelines.settings import load_settings
settings = load_settings(americano_memory_limit="128MB")
with connect(settings) as connection:
    table = lake.read(settings.paths).tables["behavioral_events"]
    files = [str(path) for bucket in table.buckets.values() for path in lake.files(settings.paths, bucket)]
    connection.execute(
        "CREATE TEMP TABLE copies AS SELECT * FROM read_parquet($1, hive_partitioning = false), range(400)", [files]
    )
    assert any(path.stat().st_size for path in settings.paths.spill.rglob("*") if path.is_file())
    print("there", flush=True)
    time.sleep(600)
"""
BUILDING = """
import time
from americano_pipelines.settings import load_settings
from americano_pipelines.warehouse import snapshots
from americano_pipelines_tests.sync.support import sync
def publish(*_):
    print("there", flush=True)
    time.sleep(600)
snapshots.publish = publish
sync(load_settings(), full=True)
"""
EXPORTING = """
import time
from americano_pipelines.lake import manifest as lake
from americano_pipelines.lake.writer import Writer
from americano_pipelines.settings import load_settings
from americano_pipelines_tests.sync.support import sync
def take(*_):
    print("there", flush=True)
    time.sleep(600)
Writer._move_into_lake = take
sync(load_settings(), full=True)
"""
COPYING = """
import shutil, time
from americano_pipelines.defs.erase import find_items
from americano_pipelines.settings import load_settings
copy = shutil.copyfile
def copy_and_stop(source, target):
    copy(source, target)
    print("there", flush=True)
    time.sleep(600)
shutil.copyfile = copy_and_stop
find_items(load_settings(), "anybody")
"""
WRITING_EXTRACT = """
import sys, time
from americano_pipelines.cli import main
from americano_pipelines.common import atomic_files
move = atomic_files.move
def stop_before_extract(source, target):
    if target.parent.name == "extracts":
        print("there", flush=True)
        time.sleep(600)
    move(source, target)
atomic_files.move = stop_before_extract
sys.argv = ["americano", "analyse", "protocol_1", "--only", "interrupted_time_series"]
main()
"""
HOLDING = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('there', flush=True); sys.stdin.read()"
ERASE = f"""DELETE FROM behavioral_events WHERE "userId" = '{LEARNER}';
DELETE FROM analysis_runs WHERE "protocolId" = 'protocol_1';
DELETE FROM phase_assignments WHERE "protocolId" = 'protocol_1';
DELETE FROM experiment_protocols WHERE "userId" = '{LEARNER}'"""


def kill_at_work(script: str, data_dir: Path, values: dict[str, object]) -> None:
    """Run a script until it is where it is to be killed, and kill it."""
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environment(data_dir, **values), stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    assert "there\n" in lines
    process.kill()
    process.communicate()


def holding(folder: Path, words: list[str]) -> dict[str, list[str]]:
    """Files that have any of the words in their bytes."""
    contents = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    matches = {
        str(path.relative_to(folder)): [word for word in words if word.encode() in content]
        for path, content in contents.items()
    }
    return {path: words for path, words in matches.items() if words}


@pytest.mark.slow
def test_a_killed_purges_copy_of_a_held_snapshot_goes_at_the_next_start(
    prisma: Database, settings_for: Callable[..., Settings]
) -> None:
    values = prisma.variables()
    settings = settings_for(**values)
    first = sync(settings)
    sync(settings, full=True)
    assert first.path is not None
    kill_while_copying(settings, first.path, values)
    assert list(settings.paths.spill.rglob("copy.duckdb"))

    sync(settings)

    assert list(settings.paths.spill.iterdir()) == []


def kill_while_copying(settings: Settings, held: Path, values: dict[str, object]) -> None:
    """Kill a purge that looks into a snapshot that another process holds."""
    shell = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(held)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert shell.stdout is not None
        assert shell.stdout.readline() == "there\n"
        kill_at_work(COPYING, settings.paths.root, values)
    finally:
        shell.communicate("")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_after_kills_anywhere_a_purge_leaves_no_byte_of_the_learner(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings]
) -> None:
    prisma.execute(
        'UPDATE behavioral_events SET "userId" = %s, "contentType" = %s, "experimentPhase" = %s WHERE "userId" = %s',
        (LEARNER, TEXT, LABEL, "learner_1"),
    )
    prisma.execute('UPDATE experiment_protocols SET "userId" = %s WHERE "userId" = %s', (LEARNER, "learner_1"))
    prisma.execute('UPDATE phase_assignments SET "phaseLabel" = %s WHERE "protocolId" = %s', (LABEL, "protocol_1"))
    values = prisma.variables()
    settings = settings_for(**values)
    assert cli("sync", "--json", **values).code == 0
    held = sync(settings, full=True)
    assert held.path is not None
    sync(settings, full=True)
    # Each sweeps what an earlier one left, so what the last ones leave is looked for.
    for script in (SPILLING, BUILDING, EXPORTING):
        kill_at_work(script, settings.paths.root, values)
    words = [LEARNER, TEXT, LABEL, pseudonym(settings, LEARNER)]
    kill_at_work(WRITING_EXTRACT, settings.paths.root, values)
    kill_while_copying(settings, held.path, values)
    left = holding(settings.paths.root, words)
    for part in (".tmp-staging-", ".tmp-aside-", ".tmp-copy-"):
        assert any(part in path for path in left), f"the test looks where there was something: {part} in {left}"
    prisma.execute(ERASE)

    assert cli("sync", "--json", **values).code == 0
    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 0, done.err
    assert holding(settings.paths.root, words) == {}
