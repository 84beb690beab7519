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
