"""Run Dagster's web server behind the guard: `python -m americano_pipelines.defs.webserver`."""

# `dagster-webserver` has no option or hook for an application around its own. Its command builds the application
# through `dagster_webserver.cli.create_app_from_workspace_process_context` (1.13.27), which is replaced here by one
# that adds the guard. Dagster promises nothing about that name, so `americano dev` sends a foreign request at each
# start, and stops if it is answered. https://docs.dagster.io/guides/operate/webserver

from typing import Any

from dagster_webserver import cli
from dagster_webserver.app import create_app_from_workspace_process_context

from americano_pipelines.defs.request_guard import App, Guard


def guarded_app(*arguments: Any, **options: Any) -> App:  # noqa: ANN401 - what Dagster's command passes on
    """Dagster's application, guarded."""
    return Guard(create_app_from_workspace_process_context(*arguments, **options))


if __name__ == "__main__":
    setattr(cli, "create_app_from_workspace_process_context", guarded_app)  # noqa: B010 - see above
    cli.main()  # type: ignore[no-untyped-call]
