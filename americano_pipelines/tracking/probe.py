"""Whether MLflow answers, asked once: before its own client tries for long, and where nobody's work depends on it.

Here belongs the asking, and remembering in this process who was silent, so that waits do not add up. The bounds of
the client's own waits are `reach.py`.
"""

from pathlib import Path
from urllib.parse import urlsplit

from americano_pipelines.errors import TrackingError
from americano_pipelines.settings import Settings, redact
from americano_pipelines.tracking.reach import is_server, told

_DATABASES = {"sqlite", "postgresql", "mysql", "mssql"}
CONNECT_SECONDS = 5
# Of one question that is asked once, where nobody's work depends on the answer.
PROBE_SECONDS = 2
# Addresses that this process waited for in vain, and has not heard of since.
_SILENT: set[str] = set()


def check(settings: Settings) -> None:
    """Make sure that an address may be worked with, before MLflow's own client tries it.

    A database is connected to once: MLflow tries ten times, for minutes, also with a wrong password. A server's client
    is bounded, so a server is asked only if it was silent before: then this is its one chance, and a shorter wait.

    Raises:
        TrackingError: it does not answer.
    """
    if not is_server(settings.tracking_uri) or settings.tracking_uri in _SILENT:
        _probe(settings.tracking_uri, CONNECT_SECONDS)


def check_quickly(settings: Settings) -> None:
    """Make sure that an address is worth a wait where nobody's work depends on it; ask at most once while it is silent.

    Raises:
        TrackingError: it does not answer within two seconds, or was silent before.
    """
    uri = settings.tracking_uri
    if uri in _SILENT:
        raise TrackingError(f"MLFLOW_TRACKING_URI={redact(uri)} did not answer before, and is not waited for again")
    _probe(uri, PROBE_SECONDS)


def check_version(uri: str) -> None:
    """Make sure that a server which answers is of the client's major version; through the client, with its credentials.

    An older one has no logged models: a night of analyses would be recorded before a training fails on them.

    Raises:
        TrackingError: it is of another one. A server that tells no version is believed to be right.
    """
    from mlflow.utils.credentials import get_default_host_creds
    from mlflow.utils.rest_utils import http_request
    from mlflow.version import VERSION

    credentials = get_default_host_creds(uri)  # type: ignore[no-untyped-call]
    response = http_request(  # type: ignore[no-untyped-call]
        credentials, "/version", "GET", timeout=PROBE_SECONDS, max_retries=0, raise_on_status=False
    )
    told_version = response.text.strip()
    major, mine = told_version.partition(".")[0], VERSION.partition(".")[0]
    if response.ok and major.isdecimal() and major != mine:
        raise TrackingError(
            f"MLFLOW_TRACKING_URI={redact(uri)} is an MLflow server {told_version}, and this project needs {mine}.x "
            f"(its client is {VERSION}; versions that far apart do not understand each other). Upgrade that server, or "
            "name another one"
        )


def note(uri: str, *, silent: bool) -> None:
    """Remember in this process whether an address was waited for in vain."""
    (_SILENT.add if silent else _SILENT.discard)(uri)


def _probe(uri: str, seconds: float) -> None:
    """Ask once. A server that says anything at all answers: what it refuses, its client says better."""
    if is_server(uri):
        import requests

        try:
            # As the client's, with the proxies and the certificates of the environment.
            requests.get(f"{uri.rstrip('/')}/api/2.0/mlflow/experiments/search?max_results=1", timeout=seconds)
        except requests.Timeout as error:
            note(uri, silent=True)
            raise told(uri, error) from None
        except requests.RequestException:
            return
    elif urlsplit(uri).scheme.partition("+")[0] in _DATABASES:
        _connect(uri, seconds)


def _connect(uri: str, seconds: float) -> None:
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.exc import SQLAlchemyError
    from sqlalchemy.pool import NullPool

    try:
        address = make_url(uri)
        kind = address.get_backend_name()
        if kind == "sqlite" and address.database:
            Path(address.database).parent.mkdir(parents=True, exist_ok=True)
        arguments = {"connect_timeout": seconds} if kind in {"postgresql", "mysql"} else {}
        create_engine(address, poolclass=NullPool, connect_args=arguments).connect().close()
    except (SQLAlchemyError, ImportError, OSError) as error:
        note(uri, silent=True)
        raise told(uri, error) from None
