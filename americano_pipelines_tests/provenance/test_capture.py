"""Which code ran: from a real git repository, a dirty one, one that is somebody else's, and none."""

import hashlib
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

from americano_pipelines.provenance import capture
from americano_pipelines.provenance.capture import capture_code, capture_environment, dvc_lock_sha256


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder with one analysis module."""
    folder = tmp_path / "project"
    module = folder / "americano_pipelines" / "statistics" / "a.py"
    module.parent.mkdir(parents=True)
    module.write_text("x = 1\n")
    monkeypatch.setattr(capture, "PROJECT_ROOT", folder)
    monkeypatch.setattr(capture, "PACKAGE", folder / "americano_pipelines")
    return folder


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    return subprocess.run(
        ["git", "-C", str(folder), *identity, *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def committed(folder: Path) -> str:
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    git(folder, "remote", "add", "origin", "https://somebody:secret@example.org/repo.git")
    return git(folder, "rev-parse", "HEAD")


def test_a_clean_tree(project: Path) -> None:
    commit = committed(project)

    code = capture_code()

    assert (code.commit, code.dirty, code.diff) == (commit, False, "")
    assert code.repository == "https://example.org/repo.git"
    assert code.modules == {"statistics/a.py": hashlib.sha256(b"x = 1\n").hexdigest()}
    assert code.not_captured == {}


def test_changed_and_untracked_files_make_it_dirty_and_are_in_the_diff(project: Path) -> None:
    committed(project)
    clean = capture_code()
    (project / "americano_pipelines/statistics/a.py").write_text("x = 2\n")
    (project / "new.txt").write_text("?")

    code = capture_code()

    assert code.dirty
    assert "-x = 1\n+x = 2\n" in code.diff
    assert "untracked: new.txt\n" in code.diff
    assert code.diff_sha256 != clean.diff_sha256
    assert code.modules_sha256 != clean.modules_sha256


def test_the_diff_has_code_without_secrets_and_names_the_rest(project: Path) -> None:
    module, settings = project / "americano_pipelines/statistics/a.py", project / ".env.team"
    settings.write_text("X=1\n")
    committed(project)
    settings.write_text("X=hunter2-of-the-settings\n")
    module.write_text('x = 2\npassword = "hunter2"\nurl = "postgresql://u:hunter2@db/x"\n')

    code = capture_code()

    assert "hunter2" not in code.diff
    assert "+x = 2\n+(withheld: looks like a secret)\n+(withheld: looks like a secret)\n" in code.diff
    assert "withheld: 2 lines that look like secrets\nchanged, not shown: .env.team\n" in code.diff
    assert code.not_captured["diff"] == "2 lines that look like secrets were withheld"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://oauth2:glpat-secret@example.org/x.git", "https://example.org/x.git"),
        ("https://example.org/x.git?private_token=secret", "https://example.org/x.git?private_token=***"),
        ("git@example.org:team/x.git", "git@example.org:team/x.git"),
        ("oauth2:secret@example.org:x.git", "example.org:x.git"),
    ],
)
def test_a_remotes_address_is_shown_without_its_secret(project: Path, address: str, shown: str) -> None:
    committed(project)
    git(project, "remote", "set-url", "origin", address)

    assert capture_code().repository == shown


@pytest.mark.usefixtures("project")
def test_without_git_the_modules_are_still_hashed_and_the_rest_is_unknown() -> None:
    code = capture_code()

    assert (code.commit, code.dirty, code.repository) == ("unknown", None, "unknown")
    assert code.not_captured.keys() == {"commit", "dirty", "repository", "diff"}
    assert code.modules


def test_a_project_inside_another_repository_is_not_that_repositorys_code(project: Path) -> None:
    (project.parent / "other.txt").write_text("")
    committed(project.parent)

    code = capture_code()

    assert code.commit == "unknown"
    assert "is not the top of a git repository" in code.not_captured["commit"]


def test_every_module_that_decides_a_number_is_hashed() -> None:
    modules = capture_code().modules

    assert {path.partition("/")[0] for path in modules} == {"analysis", "statistics"}
    assert {"statistics/randomization_test.py", "analysis/abab.py", "analysis/sql/events.sql"} <= modules.keys()


def test_the_environment_names_packages_and_lock_files_that_exist() -> None:
    environment = capture_environment()

    assert environment.packages["numpy"]
    assert environment.lock_sha256 is not None
    assert dvc_lock_sha256() is None


@pytest.mark.skipif(find_spec("pymc") is not None, reason="PyMC is installed here")
def test_the_sampler_is_named_only_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not {"pymc", "arviz", "pytensor"} & capture_environment().packages.keys()
    for name in ("pymc", "arviz", "pytensor"):
        (tmp_path / f"{name}-5.9.dist-info").mkdir()
        (tmp_path / f"{name}-5.9.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 5.9\n"
        )
    monkeypatch.syspath_prepend(tmp_path)

    assert capture_environment().packages.items() >= {"pymc": "5.9", "arviz": "5.9", "pytensor": "5.9"}.items()
