"""Define the command group, and turn errors into messages and exit codes.

Import the module of a command when the command runs, so that a sync does not load the analyses.
"""

import atexit
import gc
import io
import os
import sys
from importlib import import_module

import click

from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import say
from americano_pipelines.errors import AmericanoError, ConfigError, describe_os_error

# Command to its module.
COMMANDS = {
    "sync": "sync",
    "export": "export_table",
    "protocols": "experiments",
    "verdicts": "experiments",
    "plan": "plan",
    "analyse": "analyse",
    "verify-sync": "sync",
    "verify": "verify",
    "runs": "records",
    "compare": "records",
    "link": "records",
    "crate": "crate",
    "manuscript": "manuscript",
    "purge": "purge",
    "relocate": "relocate",
    "report": "report",
    "doctor": "status",
    "status": "status",
    "demo": "demo",
    "dev": "dev",
    "api": "api",
    "mlflow": "mlflow_server",
    "bench": "bench",
}


class Commands(click.Group):
    """A group that imports the module of a command when the command is used."""

    def list_commands(self, _: click.Context) -> list[str]:
        """The names of all commands, sorted."""
        return sorted(COMMANDS)

    def get_command(self, _: click.Context, cmd_name: str) -> click.Command | None:
        """The command with this name, or None if no such command exists."""
        if cmd_name not in COMMANDS:
            return None
        module = import_module(f"americano_pipelines.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="americano-pipelines")
def group() -> None:
    """Copy Postgres to DuckDB, analyse experiments, verify their records."""


def main() -> None:
    """Run the command line and exit with its code."""
    # Also before the settings are known, and for the processes that are started: see common/file_permissions.py.
    os.umask(0o077)
    # Of a sync that changes nothing, looking for garbage among the modules took 1.1 of 4.6 s of CPU time, most of it
    # when Python exits. Frozen objects are not looked at.
    gc.set_threshold(50_000, 20, 20)
    atexit.register(gc.freeze)
    try:
        # Without click's own handling, a code given to `context.exit` comes back as the result.
        sys.exit(group.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        words = io.StringIO()
        error.show(words)
        say(words.getvalue().rstrip("\n"), err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        say("stopped; what is published is as it was", err=True)
        sys.exit(FAILED)
    except ConfigError as error:
        say(f"configuration: {error}", err=True)
        sys.exit(WRONG_USE)
    except (AmericanoError, OSError) as error:
        reason = describe_os_error(error) if isinstance(error, OSError) else str(error)
        say(f"failed: {reason}", err=True)
        sys.exit(FAILED)
