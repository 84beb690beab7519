"""Run `americano manuscript`: methods, results and checklist of one analysis, as Markdown or for a word processor."""

from pathlib import Path

import click

from americano_pipelines.cli.output import say
from americano_pipelines.settings import load_settings


@click.command()
@click.argument("run")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file; one that ends in .docx is for a word processor, any other is Markdown. Without it, the text is "
    "printed.",
)
def manuscript(run: str, output: Path | None) -> None:
    """Write methods, results and checklist of one analysis.

    RUN is an MLflow run id, an AnalysisRun id of the app or the hash of a record; 8 characters are enough. All numbers
    are those of the record. Items that only people know are marked.
    """
    from americano_pipelines.provenance.manuscript_formats import markdown, word_document
    from americano_pipelines.provenance.manuscript_text import manuscript as arrange
    from americano_pipelines.provenance.manuscript_text import reported_record
    from americano_pipelines.provenance.protocol_row import published_protocol
    from americano_pipelines.provenance.record_lookup import find_record
    from americano_pipelines.provenance.reporting_checklist import TO_ADD

    settings = load_settings()
    _, record = find_record(settings.paths, run)
    protocol_id = record.identity.protocol_id or ""
    protocol = published_protocol(settings, protocol_id)
    blocks = arrange(reported_record(record, str(protocol.get("protocolname") or protocol_id)), protocol)
    text = markdown(blocks)
    if output is None:
        say(text.rstrip("\n"))
        return
    if output.suffix.casefold() == ".docx":
        output.write_bytes(word_document(blocks))
    else:
        output.write_text(text, encoding="utf-8")
    say(f"{output}: {text.count(TO_ADD)} items are marked {TO_ADD}")
