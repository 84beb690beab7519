"""The examples of docs/api.md run as they are written, against the real service."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines_tests.serving.conftest import Api

PAGE = (PROJECT_ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
R = re.findall(r"^```r\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
CURL = re.findall(r"^curl (?:.+\\\n)*.+$", PAGE, re.MULTILINE)
# `test_trigger.py` runs those that start something.
STARTS = "Idempotency-Key"


def of_service(text: str, api: Api) -> str:
    return text.replace("http://127.0.0.1:8000", api.url.removesuffix("/v1"))


@pytest.mark.parametrize(
    "code", [code for code in PYTHON if STARTS not in code], ids=["pandas", "polars", "arrow and duckdb"]
)
def test_python(api: Api, tmp_path: Path, code: str) -> None:
    variables = {**os.environ, "KEY": api.key("read")}
    names = "print(next(len(globals()[name]) for name in ('protocols', 'daily') if name in globals()))"
    script = f"{of_service(code, api)}\n{names}"
    done = subprocess.run(
        [sys.executable, "-c", script], env=variables, cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) in {8, 28}


def test_r(api: Api, tmp_path: Path) -> None:
    if shutil.which("Rscript") is None:
        pytest.skip("no R on this machine")
    (code,) = R
    script = tmp_path / "example.R"
    script.write_text(f"{of_service(code, api)}\ncat(nrow(protocols), names(protocols)[1])\n")
    variables = {**os.environ, "KEY": api.key("read")}
    done = subprocess.run(
        ["Rscript", "--vanilla", str(script)], env=variables, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (0, "8 protocol_id"), done.stderr


@pytest.mark.parametrize("command", [command for command in CURL if STARTS not in command])
def test_curl(api: Api, tmp_path: Path, command: str) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    variables = {**os.environ, "KEY": api.key("read")}
    done = subprocess.run(
        ["/bin/sh", "-c", of_service(command, api)], env=variables, cwd=tmp_path, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    file = tmp_path / "daily.csv"
    assert (file.read_bytes() if file.exists() else done.stdout).startswith((b'\xef\xbb\xbf"day"', b'{"snapshot"'))


def test_every_example_is_run() -> None:
    assert (len(PYTHON), len(R), len(CURL)) == (4, 1, 3)
