"""The `mlflow` service of docker-compose.yml as a local process: its very command and environment, no container."""

import os
import re
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from sqlalchemy import URL

from americano_pipelines.settings import PROJECT_ROOT
from americano_pipelines_tests.waiting import wait_until

COMPOSE = PROJECT_ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+)(?:(:[-?])([^}]*))?\}")


def service() -> dict[str, Any]:
    """The service as it is written."""
    mlflow: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]
    return mlflow


def resolved(text: str, variables: Mapping[str, str]) -> str:
    """A value with its variables put in, as Compose does; a required one that is missing raises KeyError."""

    def put(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if variables.get(name):
            return variables[name]
        if kind == ":?":
            raise KeyError(rest)
        return rest or ""

    return VARIABLE.sub(put, text)


@dataclass
class MlflowServer:
    """The service on a free port of 127.0.0.1, its volume a folder of the test's."""

    port: int
    folder: Path
    variables: dict[str, str]
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def database_uri(self) -> str:
        """The address of the database that it keeps its records in."""
        names = ("USER", "PASSWORD", "HOST", "PORT")
        user, password, host, port = (self.variables[f"MLFLOW_DB_{name}"] for name in names)
        return URL.create("postgresql+psycopg2", user, password, host, int(port), "americano_mlflow").render_as_string(
            hide_password=False
        )

    @property
    def artifacts(self) -> Path:
        return self.folder / "artifacts"

    def start(self) -> None:
        """Start it, and wait until its own healthcheck passes."""
        written = service()
        command = [self._on_this_machine(part) for part in written["command"]]
        program = str(Path(sys.executable).with_name(command[0]))
        self.artifacts.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [program, *command[1:]],
                env=_bare() | {name: resolved(text, self.variables) for name, text in written["environment"].items()},
                cwd=self.folder,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        running = self.process

        def healthy() -> bool:
            assert running.poll() is None, (self.folder / "log").read_text()[-3000:]
            # The healthcheck is a process: while nothing listens yet it would only take time from the server's start.
            with closing(socket.socket()) as probe:
                listens = probe.connect_ex(("127.0.0.1", self.port)) == 0
            return listens and self.healthcheck() == 0

        wait_until(healthy, f"the MLflow server, see {self.folder / 'log'}", seconds=240)

    def healthcheck(self) -> int:
        """Run the service's healthcheck; 0 is healthy."""
        kind, program, *arguments = (self._on_this_machine(part) for part in service()["healthcheck"]["test"])
        assert (kind, program) == ("CMD", "python")
        return subprocess.run([sys.executable, *arguments], capture_output=True, check=False, timeout=60).returncode

    def answer(self, path: str, host: str) -> int:
        """Status of a request that names the server so."""
        request = urllib.request.Request(f"{self.url}{path}", headers={"Host": host})  # noqa: S310 - as below
        try:
            with urllib.request.urlopen(request, timeout=20) as response:  # noqa: S310 - http, our own server
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code

    def signal(self, number: signal.Signals) -> None:
        """Signal it and its workers: SIGSTOP makes a server that accepts and never answers, SIGCONT ends that."""
        assert self.process is not None
        os.killpg(self.process.pid, number)

    def stop(self) -> None:
        """Stop it and its workers."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                self.signal(signal.SIGTERM)
            try:
                self.process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.signal(signal.SIGKILL)
                self.process.wait()
            self.process = None

    def _on_this_machine(self, text: str) -> str:
        return (
            text.replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - the reverse
            .replace("5000", str(self.port))
            .replace("/mlflow/artifacts", str(self.artifacts))
        )


def _bare() -> dict[str, str]:
    """This environment without what would change a server or a client of MLflow."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "_MLFLOW_", "PG"))}
