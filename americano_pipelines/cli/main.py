"""The command group, and how errors reach the user.

Each command imports what it needs when it runs, so that `americano --help` does not load Dagster.
"""

import os
import sys

import click

from americano_pipelines.cli.analyse import analyse
from americano_pipelines.cli.bench import bench
from americano_pipelines.cli.demo import demo
from americano_pipelines.cli.dev import dev, doctor
from americano_pipelines.cli.exit_codes import FAILED, WRONG_USE
from americano_pipelines.cli.output import say
from americano_pipelines.cli.purge import purge
from americano_pipelines.cli.records import compare, link, runs
from americano_pipelines.cli.report import report
from americano_pipelines.cli.sync import sync, verify_sync
from americano_pipelines.cli.verify import verify
from americano_pipelines.errors import AmericanoError, ConfigError, told_by_system


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="americano-pipelines")
def group() -> None:
    """Postgres to Parquet to DuckDB, whole or not at all."""


for command in (sync, analyse, verify_sync, verify, runs, compare, link, purge, report, doctor, demo, dev, bench):
    group.add_command(command)


def main() -> None:
    """Run the command line and exit with its code."""
    # Also before the settings are known, and for the processes that are started: see common/file_permissions.py.
    os.umask(0o077)
    try:
        # Without click's own handling, a code given to `context.exit` comes back as the result.
        sys.exit(group.main(standalone_mode=False) or 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("stopped; what is published is as it was", err=True)
        sys.exit(FAILED)
    except ConfigError as error:
        say(f"configuration: {error}", err=True)
        sys.exit(WRONG_USE)
    except (AmericanoError, OSError) as error:
        reason = told_by_system(error) if isinstance(error, OSError) else str(error)
        say(f"failed: {reason}", err=True)
        sys.exit(FAILED)
