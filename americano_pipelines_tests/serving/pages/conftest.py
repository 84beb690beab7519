"""A service over a file with a running experiment, and what a browser without scripts does with its pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from americano_pipelines.provenance.archive import put
from americano_pipelines_tests.provenance.records import kept_record
from americano_pipelines_tests.serving.conftest import TLS, Api, start
from americano_pipelines_tests.serving.published import publish_example, tables

RUNNING, RECORDED = "learner-7", "learner-1"
# In the places where the other experiments have January 2025, the running one has the days around the present.
_STARTED = "date_trunc('day', now()::TIMESTAMP) - INTERVAL 10 DAY"
TEST = {
    "edges": [-2.0, -1.0, 0.0, 1.0, 2.0],
    "counts": [10, 20, 15, 5],
    "observed": 1.5,
    "direction": "increase",
    "assignments": 50,
    "as_extreme": 5,
    "kind": "randomisation test",
    "p": 0.1,
}
VISUAL = {
    "variability": [{"phase": "<i>base</i>", "sd": 1.25, "stable": True}],
    "immediacy": [{"phases": "base and help", "nearest three days": None}],
}
CRITERIA = [
    {
        "phase": "<i>base</i>",
        "criterion": 60.0,
        "days with a value": 7,
        "mean distance": 2.5,
        "band": 4.0,
        "share within the band": 0.75,
    }
]


@dataclass
class Visitor:
    """A browser without scripts: it keeps cookies, and sends forms as pages have them."""

    url: str
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=60, verify=TLS))

    def get(self, path: str, **headers: str) -> httpx.Response:
        return self.client.get(self.url + path, headers={n.replace("_", "-"): v for n, v in headers.items()})

    def send(self, path: str, fields: dict[str, str], **headers: str) -> httpx.Response:
        return self.client.post(
            self.url + path, data=fields, headers={n.replace("_", "-"): v for n, v in headers.items()}
        )

    def token(self, path: str = "/sign-in") -> str:
        """The token in a page's form."""
        match = re.search('name="form" value="([0-9a-f]+)"', self.get(path).text)
        assert match is not None
        return match[1]

    def sign_in(self, key: str, target: str = "/protocols", **headers: str) -> httpx.Response:
        fields = {"form": self.token(), "credential": key, "next": target}
        return self.send("/sign-in", fields, **headers)


@dataclass
class Pages:
    """The service and the record of `RECORDED`."""

    api: Api
    record: str

    @property
    def url(self) -> str:
        return self.api.url.removesuffix("/v1")

    def visitor(self, *scopes: str, **more: Any) -> Visitor:
        """Somebody who is signed in."""
        visitor = Visitor(self.url)
        assert visitor.sign_in(self.api.key(*scopes, **more)).status_code == 303
        return visitor


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pages]:
    folder = tmp_path_factory.mktemp("pages")
    moved = f"IF(i % 8 = 7, {_STARTED}, TIMESTAMP '2025-01-01')"
    queries = {
        name: query.replace("TIMESTAMP '2025-01-01'", moved)
        .replace("TIMESTAMP '2025-01-08'", f"({moved} + INTERVAL 7 DAY)")
        .replace("TIMESTAMP '2025-01-29'", f"({moved} + INTERVAL 28 DAY)")
        for name, query in tables().items()
    }
    settings = publish_example(folder / "data", **queries)
    bare, record = kept_record(
        settings, protocol_id=f"protocol-{RECORDED}", row=f"run-{RECORDED}", actor="<b>a test</b>"
    )
    (settings.paths.records / f"{bare}.json").unlink()
    metrics = {"observed": 1.5, "interval_low": 0.5, "interval_high": 2.5, "p": 0.01}
    record = record.model_copy(
        update={
            "results": {"test": TEST, "counts": {"days": 28}, "visual analysis": VISUAL, "criteria": CRITERIA},
            "logged": record.logged.model_copy(update={"metrics": {n: [(0, v)] for n, v in metrics.items()}}),
        }
    )
    _, sha256 = put(settings.paths.records, record.canonical())
    # Of the running experiment too, as an analysis before the end would be.
    early = record.identity.model_copy(update={"protocol_id": f"protocol-{RUNNING}", "analysis_run_id": None})
    put(settings.paths.records, record.model_copy(update={"identity": early, "sentence": "Too early."}).canonical())
    runs = queries["analysis_runs"].replace("'COMPLETED' AS", "IF(i = 6, 'FAILED', 'COMPLETED') AS")
    queries["analysis_runs"] = f"""
        SELECT * REPLACE (IF(id = 'run-{RECORDED}', replace("resultsSummary", '"provenance_sha256": ""',
            '"provenance_sha256": "{sha256}"'), "resultsSummary") AS "resultsSummary") FROM ({runs})"""
    publish_example(folder / "data", **queries)
    api = start(
        settings, folder / "api.log", americano_tenants="experiment_protocols.school", americano_api_rate=1_000_000
    )
    yield Pages(api, sha256)
    api.stop()
