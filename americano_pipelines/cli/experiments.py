"""Run `americano protocols` and `americano verdicts`: the experiments, and what came out of each."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from americano_pipelines.cli.output import (
    SHORT_LENGTH,
    Console,
    kind_title,
    number_cells,
    say_json,
    show_lines,
    standing_cell,
)
from americano_pipelines.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from americano_pipelines.provenance.verdict_listing import ListedVerdict
    from americano_pipelines.warehouse.published_protocols import PublishedProtocol

_WIDE_TERMINAL_WIDTH = 110


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verdicts(*, as_json: bool) -> None:
    """Show what came out of each experiment.

    Each protocol has one row: its planned or declared analysis, or the newest exploratory one before there is one. The
    rows come from the provenance records, so an analysis is listed as soon as it has ended.
    """
    from americano_pipelines.provenance.verdict_listing import list_verdicts
    from americano_pipelines.warehouse.published_protocols import read_protocols

    settings = load_settings()
    listed = list_verdicts(settings.paths, read_protocols(settings))
    if as_json:
        say_json([_as_dict(verdict) for verdict in listed])
    else:
        _show_verdicts(listed)


def _as_dict(verdict: "ListedVerdict") -> dict[str, Any]:
    entry = verdict.entry
    return {
        "protocol_id": verdict.protocol.protocol_id,
        "protocol": verdict.protocol.name,
        "analysis": entry and entry.analysis,
        "verdict": entry and entry.verdict,
        **asdict(verdict.numbers),
        "standing": entry and entry.standing,
        "sentence": entry and entry.sentence,
        "ended_at": entry and entry.ended_at,
        "record": entry and entry.sha256,
        "mlflow_run_id": entry and entry.mlflow_run_id,
        "mlflow_url": entry and entry.mlflow_url,
        "analysis_run_id": entry and entry.analysis_run_id,
    }


def _show_verdicts(listed: "list[ListedVerdict]") -> None:
    console = Console(highlight=False)
    if not listed:
        console.print("no protocol is published and none was analysed: run `americano sync`, then `americano analyse`")
        return
    wide = console.width >= _WIDE_TERMINAL_WIDTH
    rows = [_verdict_row(verdict, wide=wide) for verdict in listed]
    show_lines(console, rows, "protocol", gap=1 + wide)
    standings = {verdict.entry.standing for verdict in listed if verdict.entry is not None}
    if "declared" in standings:
        console.print("A declared result follows a plan that only the source dates before the end.")
    if "exploratory" in standings:
        console.print("An exploratory result is not the analysis that was planned: it can only suggest.")
    console.print("`americano verify RECORD` checks one. --json has all sentences and ids.")


def _verdict_row(verdict: "ListedVerdict", *, wide: bool) -> dict[str, str]:
    """A line of the table, by column."""
    entry = verdict.entry
    verdict_text = "not analysed" if entry is None else entry.verdict or "described"
    standing = None if entry is None else entry.standing
    effect, interval, p = number_cells(verdict.numbers)
    return {
        "protocol": verdict.protocol.title,
        # Of "differs, lower under treatment" the sign of the effect says the rest.
        "verdict": verdict_text if wide else verdict_text.partition(",")[0],
        "effect": effect,
        "interval": interval,
        "p": p,
        **({"standing": standing or "-"} if wide else {"planned": standing_cell(standing)}),
        "record": entry.sha256[:SHORT_LENGTH] if entry else "-",
    }


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def protocols(*, as_json: bool) -> None:
    """List the published experiments.

    The list shows id, name, design, progress, length in days and the recorded analyses. `analyse`, `report` and `runs`
    take the id, its beginning, the name or a part of it.
    """
    from americano_pipelines.provenance.record_index import newest_entries
    from americano_pipelines.warehouse.published_protocols import read_protocols

    settings = load_settings()
    published = read_protocols(settings)
    recorded: dict[str, dict[str, int]] = {protocol.protocol_id: {} for protocol in published}
    for entry in newest_entries(settings.paths):
        if entry.protocol_id in recorded and entry.analysis is not None:
            counts = recorded[entry.protocol_id]
            counts[entry.analysis] = counts.get(entry.analysis, 0) + 1
    moment = datetime.now(UTC).replace(tzinfo=None)
    if as_json:
        say_json(
            [
                {
                    **asdict(protocol),
                    "status": protocol.status(moment),
                    "days": protocol.days,
                    "analyses": recorded[protocol.protocol_id],
                }
                for protocol in published
            ]
        )
    else:
        _show_protocols(published, recorded, moment)


def _show_protocols(
    published: "list[PublishedProtocol]", recorded: dict[str, dict[str, int]], moment: datetime
) -> None:
    console = Console(highlight=False)
    if not published:
        console.print("no protocol is published: run `americano sync`")
        return
    wide = console.width >= _WIDE_TERMINAL_WIDTH
    length = None if wide else unambiguous_length([protocol.protocol_id for protocol in published])
    rows = [
        {
            "id": protocol.protocol_id[:length],
            "protocol": protocol.title,
            "design": protocol.design or "-",
            "progress": protocol.status(moment),
            "days": "-" if protocol.days is None else str(protocol.days),
            "analyses": _recorded_text(recorded[protocol.protocol_id], wide=wide),
        }
        for protocol in published
    ]
    show_lines(console, rows, "protocol")


def _recorded_text(counts: dict[str, int], *, wide: bool) -> str:
    """The recorded kinds of analysis; on a narrow terminal the number of analyses."""
    if not counts:
        return "none"
    return ", ".join(kind_title(kind, wide=True) for kind in sorted(counts)) if wide else str(sum(counts.values()))


def unambiguous_length(ids: "Sequence[str]") -> int:
    """How many characters distinguish each of some ids from the others, at least 8."""
    length = SHORT_LENGTH
    while len({text[:length] for text in ids}) < len(set(ids)):
        length += 1
    return length
