"""Run `americano api`: start the HTTP API; create, list and revoke its keys."""

import logging
import signal
import sys
from datetime import UTC, datetime, timedelta

import click

from americano_pipelines.cli.output import Console, say, say_json, show_table
from americano_pipelines.cli.services import HOST, bound_socket
from americano_pipelines.serving.principals import Scope
from americano_pipelines.settings import load_settings

_SCOPES = click.Choice([scope.value for scope in Scope])
_SHUTDOWN_SECONDS = 10


@click.group(invoke_without_command=True)
@click.option("--port", default=8000, type=click.IntRange(1, 65535), show_default=True, help="Port of the API.")
@click.pass_context
def api(context: click.Context, *, port: int) -> None:
    """Serve the published file on 127.0.0.1, by HTTP.

    A key comes from `americano api key create`.
    """
    if context.invoked_subcommand is None:
        _serve(port)


def _serve(port: int) -> None:
    import uvicorn

    from americano_pipelines.common import file_permissions
    from americano_pipelines.serving.application import build_application

    # A shell starts background processes with INT ignored: the service would end with 0 after an INT, not with 1.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    settings = load_settings()
    file_permissions.protect(settings)
    listening = bound_socket(port)
    logging.basicConfig(level=settings.log_level, stream=sys.stderr, format="%(asctime)s %(name)s: %(message)s")
    # uvicorn's own line of each request shows the whole address, in which values stand.
    config = uvicorn.Config(
        build_application(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )
    say(f"API on http://{HOST}:{port}/v1/docs", err=True)
    uvicorn.Server(config).run(sockets=[listening])


@api.group()
def key() -> None:
    """Create, list and revoke keys of the API."""


@key.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    required=True,
    type=_SCOPES,
    help="What it permits.",
)
@click.option("--tenant", "tenants", multiple=True, help="With the scope read: the tenant whose learners are shown.")
@click.option("--learner", help="With the scope learner: the learner whose rows are shown.")
@click.option("--days", type=click.IntRange(1, 3650), help="Days until it expires.")
def create(
    name: str, *, scopes: tuple[str, ...], tenants: tuple[str, ...], learner: str | None, days: int | None
) -> None:
    """Create a key and print it, once.

    NAME says what it is for. --scope and --tenant may be repeated.
    """
    from americano_pipelines.serving.api_keys import KeyCard, create_key
    from americano_pipelines.serving.principals import scopes_of

    created = datetime.now(UTC)
    card = KeyCard(
        name=name,
        scopes=scopes_of(scopes),
        tenants=tenants or None,
        learner=learner,
        created_at=created,
        expires_at=None if days is None else created + timedelta(days=days),
    )
    say(create_key(load_settings(), card))
    say("Keep it: it is stored nowhere, and cannot be shown again.", err=True)


@key.command(name="list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_keys(*, as_json: bool) -> None:
    """List the keys, without the keys themselves."""
    from americano_pipelines.serving.api_keys import stored_keys

    keys = stored_keys(load_settings().paths)
    if as_json:
        say_json([{"id": stored.key_id, **stored.card.model_dump(mode="json")} for stored in keys])
        return
    header = ("id", "name", "scopes", "rows of", "created", "expires")
    rows = []
    for stored in keys:
        card = stored.card
        whose = card.learner or ", ".join(card.tenants or ()) or None
        expires = "expired" if card.is_expired else card.expires_at and card.expires_at.date()
        rows.append((stored.key_id, card.name, ", ".join(sorted(card.scopes)), whose, card.created_at.date(), expires))
    show_table(Console(highlight=False), header, rows, max_rows=len(rows))


@key.command()
@click.argument("key_id", metavar="ID")
def revoke(key_id: str) -> None:
    """Remove a key; it is refused from then on.

    ID is as `americano api key list` shows it.
    """
    from americano_pipelines.serving.api_keys import revoke_key

    say(f"revoked: {revoke_key(load_settings().paths, key_id).name}")
