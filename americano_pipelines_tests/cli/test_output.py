"""What a person at a terminal sees while they wait, and that nobody else sees it."""

import os
import pty
import re
import select
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from americano_pipelines.cli.output import broken_between_words
from americano_pipelines_tests.conftest import environment

TALKS = """
from americano_pipelines.cli.output import Console, say
text = "a sentence of a few words that is longer than one line of eighty characters, with /a/path-" + "x" * 90
say(text, err=True)
Console(stderr=True).print("[bold]" + text + "[/]")
"""
SLOW = """
import time
from americano_pipelines.cli.output import progress
from americano_pipelines.common.stage_timer import StageTimer
with progress("connecting to the source"{enabled}):
    time.sleep({seconds})
    with StageTimer().stage("load the events"):
        time.sleep({seconds})
print("done")
"""


def on_a_terminal(code: str, tmp_path: Path) -> str:
    """What a process whose standard error is a terminal writes there."""
    ours, theirs = pty.openpty()
    with os.fdopen(ours, "rb", buffering=0) as screen:
        with closing(os.fdopen(theirs, "wb", buffering=0)) as terminal:
            process = subprocess.Popen(
                [sys.executable, "-c", code],
                env=environment(tmp_path / "data") | {"TERM": "xterm"},
                stdout=subprocess.DEVNULL,
                stderr=terminal,
            )
        output = b""
        while process.poll() is None or select.select([screen], [], [], 0)[0]:
            if select.select([screen], [], [], 0.1)[0]:
                try:
                    output += screen.read(4096) or b""
                except OSError:  # Linux: the other end is closed
                    break
    assert process.wait(timeout=30) == 0, output
    return output.decode()


def test_a_terminal_shows_activity_after_two_seconds_then_the_stage(tmp_path: Path) -> None:
    shown = on_a_terminal(SLOW.format(enabled="", seconds=2.5), tmp_path)

    assert shown.index("connecting to the source") < shown.index("load the events")


def test_a_terminal_shows_nothing_for_what_is_quick(tmp_path: Path) -> None:
    assert on_a_terminal(SLOW.format(enabled="", seconds=0.25), tmp_path) == ""


def test_a_terminal_shows_nothing_when_json_is_asked_for(tmp_path: Path) -> None:
    assert on_a_terminal(SLOW.format(enabled=", enabled=False", seconds=1.25), tmp_path) == ""


def test_a_pipe_gets_no_progress_not_even_with_forced_colours(tmp_path: Path) -> None:
    variables = environment(tmp_path / "data") | {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "TERM": "xterm"}
    done = subprocess.run(
        [sys.executable, "-c", SLOW.format(enabled="", seconds=2.5)], env=variables, capture_output=True, check=True
    )

    assert (done.stdout, done.stderr) == (b"done\n", b"")


def test_prose_breaks_between_words_on_a_terminal_and_nowhere_in_a_pipe(tmp_path: Path) -> None:
    shown = on_a_terminal(TALKS, tmp_path)
    piped = subprocess.run(
        [sys.executable, "-c", TALKS], env=environment(tmp_path / "data"), capture_output=True, text=True, check=True
    )

    lines = re.sub("\x1b\\[[0-9;]*m", "", shown).replace("\r", "").splitlines()
    assert lines[:2] == ["a sentence of a few words that is longer than one line of eighty characters,", "with"]
    assert lines[2].startswith("/a/path-xxx")
    assert len(lines) == 6
    assert lines[:3] == lines[3:]
    assert piped.stderr.count("\n") == 2


@pytest.mark.parametrize(
    ("text", "broken"),
    [
        ("one two three", "one two\nthree"),
        ("one two\nthree four five", "one two\nthree four\nfive"),
        ("abcdefghijklmnop", "abcdefghijklmnop"),
        ("a abcdefghijklmnop b", "a\nabcdefghijklmnop\nb"),
        ("   indented words", "   indented\nwords"),
        ("\u4e00\u4e00\u4e00 \u4e00\u4e00\u4e00", "\u4e00\u4e00\u4e00\n\u4e00\u4e00\u4e00"),
        ("", ""),
    ],
)
def test_lines_break_at_spaces_only(text: str, broken: str) -> None:
    assert broken_between_words(text, 10) == broken
