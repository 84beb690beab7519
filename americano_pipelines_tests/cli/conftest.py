"""The command line in this process, for what needs no process of its own: `cli("report", "--json", pg_host=...)`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from americano_pipelines.cli import main
from americano_pipelines.common.stage_timer import StageTimer
from americano_pipelines.lake.export import export
from americano_pipelines.settings import Mode, Settings
from americano_pipelines.warehouse.refresh import refresh
from americano_pipelines_tests.conftest import Done, environment


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Run the real `main` with these settings; an exception that reaches the user fails the test."""

    def run(*arguments: str, **values: Any) -> Done:
        with monkeypatch.context() as patch:
            for name, value in environment(tmp_path / "data", **values).items():
                patch.setenv(name, value)
            patch.setattr(sys, "argv", ["americano", *arguments])
            capsys.readouterr()
            with pytest.raises(SystemExit) as ended:
                main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Done(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def publish(settings_for: Callable[..., Settings]) -> Callable[..., None]:
    """Publish a file in the data folder that `cli` uses, without Dagster, which takes longer than the work."""

    def run(**values: Any) -> None:
        settings = settings_for(**values)
        if settings.mode is Mode.POSTGRES:
            export(settings, StageTimer())
        assert refresh(settings, StageTimer()).path

    return run
