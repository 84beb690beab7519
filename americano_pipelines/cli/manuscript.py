"""Run `americano manuscript`: methods, results and checklist of one analysis as Markdown."""

from pathlib import Path

import click

from americano_pipelines.cli.output import say
from americano_pipelines.settings import load_settings


@click.command()
@click.argument("run")
@click.option(
    "--output", "-o", type=click.Path(path_type=Path, dir_okay=False), help="The file. Without it, the text is printed."
)
def manuscript(run: str, output: Path | None) -> None:
    """Write methods, results and checklist of one analysis.

    RUN is an MLflow run id, an AnalysisRun id of the app or the hash of a record; 8 characters are enough. All numbers
    are those of the record. Items that only people know are marked.
    """
    from americano_pipelines.provenance.manuscript_text import published_protocol, write_manuscript
    from americano_pipelines.provenance.record_lookup import find_record

    settings = load_settings()
    _, record = find_record(settings, run)
    protocol_id = record.identity.protocol_id or ""
    protocol = published_protocol(settings, protocol_id)
    text = write_manuscript(record, protocol, str(protocol.get("protocolname") or protocol_id))
    if output is None:
        say(text.rstrip("\n"))
        return
    output.write_text(text, encoding="utf-8")
    say(f"{output}: {text.count('TO BE ADDED')} items are marked TO BE ADDED")
