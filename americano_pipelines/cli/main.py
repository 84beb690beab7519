"""The command group, exit codes, and how errors are told.

Each command is in a module of its own and
imports what it needs when it runs: `americano --help` should not wait for Dagster.
"""

import os
import sys

import click

from americano_pipelines.cli.analyse import analyse
from americano_pipelines.cli.bench import bench
from americano_pipelines.cli.codes import FAILED, WRONG_USE
from americano_pipelines.cli.compare import compare
from americano_pipelines.cli.demo import demo
from americano_pipelines.cli.dev import dev
from americano_pipelines.cli.doctor import doctor
from americano_pipelines.cli.link import link
from americano_pipelines.cli.purge import purge
from americano_pipelines.cli.report import report
from americano_pipelines.cli.runs import runs
from americano_pipelines.cli.sync import sync
from americano_pipelines.cli.tables import say
from americano_pipelines.cli.verify import verify
from americano_pipelines.cli.verify_sync import verify_sync
from americano_pipelines.errors import AmericanoError, ConfigError, told_by_system


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="americano-pipelines")
def group() -> None:
    """Postgres to Parquet to DuckDB, whole or not at all."""


for command in (sync, analyse, verify_sync, verify, runs, compare, link, purge, report, doctor, demo, dev, bench):
    group.add_command(command)


def main() -> None:
    """Run the command line and exit with its code."""
    # Also before the settings are known, and for the processes that are started: see access.py.
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
