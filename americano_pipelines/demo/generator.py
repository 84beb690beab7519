"""The whole demo data set: a year of 60 learners, eight of whom ran an ABAB experiment on themselves.

Here: the list of tables in the order in which they can be loaded. Not here: their contents. What is true of each
protocol stands in `protocols`; nothing depends on the time or the machine, so every call gives the same rows.
"""

from americano_pipelines.demo.events import behavioral_events
from americano_pipelines.demo.records import analysis_runs, experiment_protocols, phase_assignments
from americano_pipelines.demo.tables import Table


def generate() -> tuple[Table, ...]:
    """Generate every table, parents before children."""
    return behavioral_events(), experiment_protocols(), phase_assignments(), analysis_runs()
