"""One seeded demo server for this folder's tests, and connections to it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from psycopg2.extensions import connection

from americano_pipelines.demo.postgres.cluster import SUPERUSER
from americano_pipelines.demo.server import DATABASE, DemoServer


@pytest.fixture(scope="session")
def demo_server(server_folder: Path) -> Iterator[DemoServer]:
    server = DemoServer(server_folder / "demo")
    try:
        server.up()
        yield server
    finally:
        server.down()


@contextmanager
def connected(server: DemoServer, user: str = SUPERUSER) -> Iterator[connection]:
    """A connection to the demo's database that is rolled back at the end."""
    postgres = server.postgres
    link = psycopg2.connect(host=postgres.host, port=postgres.port, user=user, dbname=DATABASE)
    try:
        yield link
    finally:
        link.close()
