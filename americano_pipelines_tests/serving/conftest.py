"""The real service, `americano api`, in a process of its own, over small published files."""

import os
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from americano_pipelines.serving.api_keys import KeyCard, create_key
from americano_pipelines.serving.principals import Scope
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import environment, free_port
from americano_pipelines_tests.serving.published import publish_example

START_SECONDS = 60.0
# httpx makes one for each request, which takes 25 ms, the rest of the request 1 ms. No address here begins with https.
TLS = ssl.create_default_context()
COMMAND = (sys.executable, "-c", "from americano_pipelines.cli import main; main()", "api")


@dataclass
class Api:
    """A running service."""

    settings: Settings
    port: int
    process: "subprocess.Popen[bytes]"
    log: Path
    keys: dict[tuple[Any, ...], str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def key(self, *scopes: str, tenants: tuple[str, ...] | None = None, learner: str | None = None) -> str:
        """A key with these scopes; the same one for the same question."""
        wanted = (scopes, tenants, learner)
        if wanted not in self.keys:
            card = KeyCard(
                name="of a test",
                scopes=frozenset(map(Scope, scopes)),
                tenants=tenants,
                learner=learner,
                created_at=datetime.now(UTC),
            )
            self.keys[wanted] = create_key(self.settings, card)
        return self.keys[wanted]

    def get(self, path: str, key: str | None = None, **headers: str) -> httpx.Response:
        """Ask with a key, or with an admin's."""
        token = self.key("admin") if key is None else key
        if token:
            headers["authorization"] = f"Bearer {token}"
        address = path if path.startswith("http") else self.url.removesuffix("/v1") + path
        headers = {name.replace("_", "-"): text for name, text in headers.items()}
        return httpx.get(address, headers=headers, timeout=60, verify=TLS)

    def rows(self, path: str, key: str | None = None) -> list[dict[str, Any]]:
        answer = self.get(path, key)
        assert answer.status_code == 200, answer.text
        rows: list[dict[str, Any]] = answer.json()["rows"]
        return rows

    def figure(self, name: str) -> float:
        """A figure of the metrics."""
        lines = self.get("/v1/metrics").text.splitlines()
        return float(next(line.split()[-1] for line in lines if line.startswith(f"{name} ")))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start(settings: Settings, log: Path, **values: Any) -> Api:
    """Start the service on a data folder and wait until it answers."""
    port = free_port()
    # A Dagster that somebody has on the usual port is not asked.
    values = {"americano_dagster_url": f"http://127.0.0.1:{free_port()}"} | values
    variables = environment(settings.paths.root, **values)
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*COMMAND, "--port", str(port)], env=variables, stdout=stream, stderr=stream, cwd=os.sep
        )
    api = Api(settings, port, process, log)
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(f"{api.url}/health", timeout=5, verify=TLS).raise_for_status()
        except httpx.TransportError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.05)
        else:
            return api


@pytest.fixture(scope="session")
def example(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A published file, which no test changes."""
    return publish_example(tmp_path_factory.mktemp("serving") / "data")


@pytest.fixture(scope="session")
def api(example: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The service on `example`, which answers as often as a test asks."""
    log = tmp_path_factory.mktemp("serving_log") / "api.log"
    started = start(
        example, log, americano_tenants="experiment_protocols.school", americano_api_rate=1_000_000, log_level="INFO"
    )
    yield started
    started.stop()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Start services that end with the test: `serve(settings, americano_api_timeout=1)`."""
    started: list[Api] = []

    def run(settings: Settings, **values: Any) -> Api:
        started.append(start(settings, tmp_path / "api.log", **values))
        return started[-1]

    yield run
    for service in started:
        service.stop()
