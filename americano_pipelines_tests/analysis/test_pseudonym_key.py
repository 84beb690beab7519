"""The key of the pseudonyms: durable, one, checked at every use, never replaced silently."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.analysis.pseudonym import key_state, pseudonym
from americano_pipelines.doctor import examine
from americano_pipelines.errors import PseudonymKeyError
from americano_pipelines.provenance.archive import put
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import environment

Make = Callable[..., Settings]


def test_the_bytes_are_on_the_disk_before_the_name_and_the_name_after(
    settings_for: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for()
    calls: list[str] = []
    fsync, link = os.fsync, os.link

    def recorded_fsync(descriptor: int) -> None:
        calls.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def recorded_link(source: Path, target: Path) -> None:
        assert len(Path(source).read_bytes()) == 64
        calls.append("link")
        link(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "link", recorded_link)
    pseudonym(settings, "learner_1")

    at = calls.index("link")
    assert "pseudonym.key" in calls[:at]
    assert settings.paths.root.name in calls[at:]


def test_processes_that_begin_at_once_end_with_one_key(settings_for: Make) -> None:
    settings = settings_for()
    settings.paths.root.mkdir(parents=True)
    script = (
        "import sys; from americano_pipelines.settings import load_settings; "
        "from americano_pipelines.analysis.pseudonym import pseudonym; s = load_settings(); "
        "print('ready', flush=True); sys.stdin.readline(); print(pseudonym(s, 'learner_1'))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script], env=environment(settings.paths.root), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for _ in range(3)
    ]  # fmt: skip
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    pseudonyms = {process.communicate()[0] for process in processes}

    assert pseudonyms == {f"{pseudonym(settings, 'learner_1')}\n"}
    assert not list(settings.paths.root.glob(".tmp-*"))


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"ab" * 31, b"ab" * 33, b"AB" * 32, b"zz" * 32, b"\xff" * 64, b"ab" * 32 + b"\n\n"]
)
def test_a_malformed_key_is_refused_and_left(settings_for: Make, content: bytes) -> None:
    settings = settings_for()
    pseudonym(settings, "learner_1")
    path = settings.paths.root / "pseudonym.key"
    path.write_bytes(content)

    with pytest.raises(PseudonymKeyError, match="no key of 64 hexadecimal digits: restore it"):
        pseudonym(settings, "learner_1")

    assert path.read_bytes() == content
    assert [diagnosis.level for diagnosis in examine(settings) if diagnosis.what == "pseudonym key"] == ["FAIL"]


def test_a_lost_or_replaced_key_is_refused_while_extracts_need_it(settings_for: Make) -> None:
    settings = settings_for()
    before = pseudonym(settings, "learner_1")
    path = settings.paths.root / "pseudonym.key"
    key = path.read_bytes()
    kept, _ = put(settings.paths.extracts, b"{}")

    path.unlink()
    with pytest.raises(PseudonymKeyError, match=r"is missing, and .* holds extracts"):
        pseudonym(settings, "learner_1")
    assert not path.exists()
    path.write_bytes(b"0" * 64)
    with pytest.raises(PseudonymKeyError, match="is not the key"):
        pseudonym(settings, "learner_1")
    path.write_bytes(key + b"\n")
    assert pseudonym(settings, "learner_1") == before
    assert key.decode() not in key_state(settings.paths)

    # The new start that the message tells.
    path.unlink()
    kept.unlink()
    assert pseudonym(settings, "learner_1") != before
    put(settings.paths.extracts, b"{}")
    assert pseudonym(settings, "learner_1") != before


def test_a_folder_of_an_earlier_release_is_given_its_card(settings_for: Make) -> None:
    settings = settings_for()
    before = pseudonym(settings, "learner_1")
    card = settings.paths.root / "pseudonym.json"
    written = card.read_text()
    put(settings.paths.extracts, b"{}")
    card.unlink()

    assert pseudonym(settings, "learner_1") == before
    assert card.read_text() == written
    card.write_text("")
    with pytest.raises(PseudonymKeyError, match="does not say which key"):
        pseudonym(settings, "learner_1")
