"""Run `americano crate`: write a recorded analysis as one file that can be checked without this project."""

from dataclasses import replace
from pathlib import Path

import click

from americano_pipelines.cli.output import progress, say, say_json
from americano_pipelines.settings import load_settings


@click.command()
@click.argument("run")
@click.option("--output", "-o", required=True, type=click.Path(path_type=Path, dir_okay=False), help="The ZIP file.")
@click.option("--without-data", is_flag=True, help="Leave out whatever shows the learner's days; their hashes stay.")
@click.option("--doi", help="The DOI that the crate gets, such as 10.5281/zenodo.1234.")
@click.option("--timestamp", metavar="URL", help="Have the record's hash time stamped (RFC 3161) by this authority.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def crate(run: str, output: Path, *, without_data: bool, doi: str | None, timestamp: str | None, as_json: bool) -> None:
    """Write a recorded analysis into one ZIP file.

    RUN is the hash of a record or the id of a run in MLflow, Dagster or the app; 8 characters are enough. The file is
    an RO-Crate with its own verify.py.
    """
    from americano_pipelines.provenance.crate.contents import RECORD_FILE, collect_contents
    from americano_pipelines.provenance.crate.crate_cards import write_card
    from americano_pipelines.provenance.crate.ro_crate import crate_options, write_crate
    from americano_pipelines.provenance.crate.time_stamp import STAMP, request_stamp

    settings = load_settings()
    options = crate_options(settings, doi)
    with progress("collecting the files of the analysis", enabled=not as_json):
        contents = collect_contents(settings, run, with_days=not without_data)
        if timestamp is not None:
            stamp = request_stamp(timestamp, contents.files[RECORD_FILE])
            contents = replace(contents, files={**contents.files, STAMP: stamp})
        written = write_crate(settings.paths, contents, options, output)
        if contents.has_days:
            write_card(settings.paths, contents, output, written.sha256)
    if as_json:
        report = {
            "file": str(output),
            "sha256": written.sha256,
            "contents": written.contents_sha256,
            "record": contents.sha256,
            "with_days": contents.has_days,
            "left_out": list(contents.withheld),
        }
        say_json(report)
        return
    say(f"{output}: record {contents.sha256[:12]}, {len(contents.files)} files, sha256 {written.sha256}")
    say(f"contents {written.contents_sha256}: this hash covers every file in it, publish it with the record's")
    if contents.withheld:
        say(f"left out: {', '.join(contents.withheld)}")
    if contents.has_days:
        say("it holds the learner's days, so it is personal data; `americano purge` removes it where it lies")
