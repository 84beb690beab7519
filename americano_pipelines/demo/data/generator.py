"""Generate the whole demo data set: a year of 60 learners, eight of whom ran an ABAB experiment, and seven learners who
ran one of another design."""

# The list has the order in which the tables can be loaded. Nothing depends on the time or the machine.

from americano_pipelines.demo.data.analysis_rows import analysis_runs
from americano_pipelines.demo.data.analysis_rows import experiment_protocols
from americano_pipelines.demo.data.analysis_rows import phase_assignments
from americano_pipelines.demo.data.events import behavioral_events
from americano_pipelines.demo.data.tables import Table



def generate() -> tuple[Table, ...]:
    """Generate every table, parents before children."""
    return behavioral_events(), experiment_protocols(), phase_assignments(), analysis_runs()
