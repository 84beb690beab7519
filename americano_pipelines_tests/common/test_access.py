"""Other users of the machine cannot read our files under any umask; a named group can."""

import grp
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.common import atomic_files
from americano_pipelines.common.file_permissions import file_mode, open_to_others, protect
from americano_pipelines.common.writer_lock import writer_lock
from americano_pipelines.defs.dagster_instance import open_instance
from americano_pipelines.errors import ConfigError
from americano_pipelines.provenance.archive import put
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database
from americano_pipelines_tests.sync.support import sync

ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as another user")
READ_ALL = """
import os, sys
from pathlib import Path
group = [int(sys.argv[2])] if sys.argv[2] else []
os.setgroups(group); os.setgid(65534); os.setuid(65534)
for line in sys.stdin.read().splitlines():
    try:
        Path(line).open("rb").close()
        print(line)
    except OSError:
        pass
"""


@pytest.fixture(autouse=True)
def _open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def reachable(tmp_path: Path) -> Path:
    """Let every user pass to the test's folder: what is below it protects itself."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder != Path("/"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    return tmp_path


def read_by_another(folder: Path, group: int | None = None) -> set[str]:
    """The files below a folder that the user `nobody` can open, in a group or in none."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    assert paths
    done = subprocess.run(
        [sys.executable, "-c", READ_ALL, str(folder), "" if group is None else str(group)],
        input="\n".join(map(str, paths)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return {Path(line).relative_to(folder).as_posix() for line in done.stdout.splitlines()}


def fill(settings: Settings) -> None:
    """Write with every part of the project, and with the libraries that choose the modes themselves."""
    sync(settings)
    with writer_lock(settings):
        atomic_files.write_text(settings.paths.root / "card.json", "{}")
    pseudonym(settings, "learner_1")
    put(settings.paths.extracts, b"{}", file_mode(settings.americano_group))
    with open_instance(settings) as instance:
        instance.get_runs_count()
    folder = settings.paths.root / "mlflow" / "artifacts"
    folder.mkdir(parents=True)
    (folder / "daily.csv").write_text("day")
    duckdb.connect(folder / "x.duckdb").close()


@ROOT
def test_another_user_reads_nothing_under_any_umask(
    prisma: Database, settings_for: Callable[..., Settings], reachable: Path
) -> None:
    settings = settings_for(**prisma.variables())
    fill(settings)

    assert read_by_another(reachable) == set()
    # Each by itself, too: the demo's server has to pass through the data folder, and so others may.
    open_modes = {
        str(path): oct(path.lstat().st_mode)
        for path in settings.paths.root.rglob("*")
        if not path.is_symlink() and path.lstat().st_mode & 0o077
    }
    assert open_modes == {}
    assert open_to_others(settings) == []
    settings.paths.root.chmod(0o711)
    assert read_by_another(reachable) == set()


@ROOT
@pytest.mark.usefixtures("reachable")
def test_a_group_reads_all_but_the_key(prisma: Database, settings_for: Callable[..., Settings]) -> None:
    group = next(group for group in grp.getgrall() if group.gr_gid not in {0, 65534})
    settings = settings_for(**prisma.variables(), americano_group=group.gr_name)
    fill(settings)

    readable = read_by_another(settings.paths.root, group.gr_gid)
    files = {
        path.relative_to(settings.paths.root).as_posix() for path in settings.paths.root.rglob("*") if path.is_file()
    }
    assert files - readable == {"pseudonym.key"}
    assert "pseudonym.key" not in readable
    assert read_by_another(settings.paths.root) == set()


def test_an_open_folder_of_earlier_is_closed_and_given_to_a_group(
    settings_for: Callable[..., Settings],
) -> None:
    settings = settings_for()
    old = settings.paths.root / "mlflow" / "artifacts"
    old.mkdir(parents=True)
    (old / "daily.csv").touch()
    (settings.paths.root / "postgres").mkdir()
    assert open_to_others(settings) != []

    protect(settings)

    assert open_to_others(settings) == []
    passable = 0o001 if os.geteuid() == 0 else 0
    assert stat.S_IMODE(settings.paths.root.stat().st_mode) == 0o700 | passable
    assert stat.S_IMODE((settings.paths.root / "mlflow").stat().st_mode) == 0o700
    assert stat.S_IMODE((settings.paths.root / "postgres").stat().st_mode) == 0o777, "its own server's business"
    if os.geteuid() == 0:
        group = next(group for group in grp.getgrall() if group.gr_gid not in {0, 65534})
        protect(settings_for(americano_group=group.gr_name))
        assert (old / "daily.csv").stat().st_gid == group.gr_gid
        assert stat.S_IMODE((old / "daily.csv").stat().st_mode) == 0o640
        assert stat.S_IMODE(old.stat().st_mode) == 0o2750


def modes(folder: Path) -> dict[str, int]:
    return {path.relative_to(folder).as_posix(): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.mark.parametrize("mode", [0o1777, 0o777, 0o755])
@pytest.mark.parametrize("variable", ["americano_data_dir", "dagster_home"])
def test_a_shared_folder_stays_open_and_our_files_in_it_are_closed(
    prisma: Database, settings_for: Callable[..., Settings], tmp_path: Path, variable: str, mode: int
) -> None:
    shared = tmp_path / "shared"
    (shared / "theirs").mkdir(parents=True)
    (shared / "exports").mkdir()
    for name in ("theirs/notes.txt", "report.csv", "exports/events.parquet"):
        (shared / name).touch(mode=0o644)
    shared.chmod(mode)
    before = modes(shared)
    settings = settings_for(**prisma.variables(**{variable: shared}))

    fill(settings)
    protect(settings)

    assert stat.S_IMODE(shared.stat().st_mode) == mode
    after = modes(shared)
    assert {name: after[name] for name in before} == before
    new = {name: mode for name, mode in after.items() if name not in before and not (shared / name).is_symlink()}
    assert new.keys() >= ({"parquet", "pseudonym.key"} if variable == "americano_data_dir" else {"history"})
    # Without the file that `fill` puts beside ours, in the way of the project's own writes: closed by the umask too.
    assert {name for name, mode in new.items() if mode & 0o077} == set()
    assert shared in open_to_others(settings)


def test_an_older_folder_of_ours_in_a_shared_one_is_closed(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    for name in ("parquet", "theirs", "tmp"):
        (settings.paths.root / name).mkdir(parents=True)
    (settings.paths.root / "tmp").chmod(0o1777)

    protect(settings)

    assert {name: mode for name, mode in modes(settings.paths.root).items() if "/" not in name} == {
        "parquet": 0o700, "theirs": 0o777, "tmp": 0o1777
    }  # fmt: skip
    assert stat.S_IMODE(settings.paths.root.stat().st_mode) == 0o777


def test_a_group_gets_only_what_is_ours(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    (settings.paths.root / "mlflow").mkdir(parents=True)
    (settings.paths.root / "notes.txt").touch(mode=0o600)
    settings.paths.root.chmod(0o700)
    group = next((group for group in grp.getgrall() if group.gr_gid in {*os.getgroups(), os.getegid()}), None)
    assert group is not None

    protect(settings_for(americano_group=group.gr_name))

    assert stat.S_IMODE((settings.paths.root / "notes.txt").stat().st_mode) == 0o600
    assert stat.S_IMODE(settings.paths.root.stat().st_mode) == 0o700


@pytest.mark.parametrize("home", ["data/dagster_home", "data", "."])
def test_every_name_that_work_leaves_is_known(
    prisma: Database, settings_for: Callable[..., Settings], tmp_path: Path, home: str
) -> None:
    settings = settings_for(**prisma.variables(), dagster_home=tmp_path / home)
    fill(settings)
    (settings.paths.root / "card.json").unlink()
    settings.paths.root.chmod(0o755)
    settings.paths.dagster_home.chmod(0o755)
    settings.paths.snapshots.chmod(0o755)

    protect(settings)

    assert open_to_others(settings) == []


def test_a_data_folder_with_a_demo_is_closed(settings_for: Callable[..., Settings]) -> None:
    settings = settings_for()
    (settings.paths.root / "postgres").mkdir(parents=True, mode=0o700)
    for name in ("postgres.lock", ".gitkeep"):
        (settings.paths.root / name).touch()
    settings.paths.root.chmod(0o755)

    protect(settings)

    assert open_to_others(settings) == []


def test_a_group_that_is_none_is_refused_by_name(settings_for: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigError, match="AMERICANO_GROUP: this machine has no group 'no-such-group'"):
        settings_for(americano_group="no-such-group")
