"""The analyses at the end of `americano demo run`, beside what the generator made true.

Here belongs which are run, and the table of verdicts. How a protocol is analysed is `defs/launch_analyses.py`.
"""

from typing import TYPE_CHECKING

from rich.markup import escape

from americano_pipelines.cli.progress import progress
from americano_pipelines.cli.tables import Console, show_table
from americano_pipelines.settings import Settings

if TYPE_CHECKING:
    from americano_pipelines.defs.launched import Launched

COMMAND, JUDGED = "americano demo run", "abab_randomization"


def run(settings: Settings) -> "list[Launched]":
    """Carry out what the demo's app requests, and then whatever was not analysed yet."""
    with progress():
        from americano_pipelines.defs.launch_analyses import run_missing, run_requests

        return [*run_requests(settings, command=COMMAND), *run_missing(settings, command=COMMAND)]


def show(settings: Settings, launched: "list[Launched]") -> None:
    """Print the verdict on each protocol beside the truth, and what could not be done."""
    from americano_pipelines.demo.protocols import PROTOCOLS
    from americano_pipelines.demo.records import protocol_ids
    from americano_pipelines.tracking.history import records

    console = Console(highlight=False)
    judged = sorted(
        (one for _, one in records(settings) if one.identity.analysis == JUDGED),
        key=lambda one: one.identity.started_at,
        reverse=True,
    )
    first = {one.identity.protocol_id: one for one in judged}  # of several the first one, which was planned
    ids = protocol_ids()
    rows = []
    for protocol in PROTOCOLS:
        found = first.get(ids[protocol.name])
        p = found.logged.metrics.get("p") if found else None
        rows.append(
            (
                protocol.title,
                f"{protocol.effect:+g}" if protocol.effect else "no effect",
                found.verdict if found else "failed",
                f"{p[-1][1]:.4f}" if p else "-",
                "planned" if found and found.standing and found.standing.planned else "exploratory",
            )
        )
    title = f"[bold]Verdicts[/] ({len(launched)} analyses now, by randomization test, change points and regression)"
    show_table(console, ("protocol", "truth", "verdict", "p", ""), rows, title=title)
    titles = {ids[protocol.name]: protocol.title for protocol in PROTOCOLS}
    for one in launched:
        if not one.success:
            name = escape(titles.get(one.protocol_id, one.protocol))
            console.print(f"[yellow]not done[/] {one.analysis}, {name}: {escape(one.sentence)}", soft_wrap=True)
