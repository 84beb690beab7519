"""Generate the demo data set: a year of 60 learners, and the experiments of eight of them and of seven others."""

# The list has the order in which the tables can be loaded. Nothing depends on the time or the machine.

from americano_pipelines.demo.data.analysis_rows import analysis_runs, experiment_protocols, phase_assignments
from americano_pipelines.demo.data.events import behavioral_events
from americano_pipelines.demo.data.tables import Table


def generate() -> tuple[Table, ...]:
    """Generate every table, parents before children."""
    return behavioral_events(), experiment_protocols(), phase_assignments(), analysis_runs()
