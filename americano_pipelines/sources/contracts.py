"""Define the contract of each source table: its names, the roles of its columns, its order."""

# This is the only place that names the source tables. A further table needs a contract here, its `<NAME>_PARQUET`
# variable in `settings/environment.py` and a model in `warehouse/research_models.py` with its SQL.

from dataclasses import asdict, dataclass

from americano_pipelines.common.hashing import canonical_json, sha256_hex


@dataclass(frozen=True)
class Role:
    """A part that a column plays, under whatever name.

    Attributes:
        name: the role, such as `time`.
        description: what the column holds, for metadata.
        aliases: column names that mean it, best first; case and underscores do not matter.
        required: without it the table cannot be used at all.
    """

    name: str
    description: str
    aliases: tuple[str, ...]
    required: bool = False


@dataclass(frozen=True)
class TableContract:
    """What a source table is called and what it holds.

    Attributes:
        name: its name in the warehouse.
        description: what a row is.
        source_names: its names in Postgres, most likely first.
        roles: the parts its columns play.
        sort_role: the role whose column orders the table.
        by_month: the rows are kept month by month of the sort role, for they are many.
        cluster_role: the role whose rows lie together within a month; its column may get an index.
    """

    name: str
    description: str
    source_names: tuple[str, ...]
    roles: tuple[Role, ...]
    sort_role: str
    by_month: bool = False
    cluster_role: str | None = None

    def role(self, name: str) -> Role:
        """The role of that name (KeyError if there is none)."""
        return {role.name: role for role in self.roles}[name]


_LEARNER = ("learner_id", "user_id", "student_id", "participant_id")
_PROTOCOL = ("experiment_id", "protocol_id", "study_id")

EVENTS = TableContract(
    name="behavioral_events",
    description="One thing a learner did in the app. Rows come late, are corrected and deleted without trace.",
    source_names=("behavioral_events", "BehavioralEvent"),
    roles=(
        Role("id", "Identifies the event.", ("id", "event_id")),
        Role(
            "time",
            "When it happened, UTC.",
            ("event_time", "event_timestamp", "timestamp", "ts"),
            required=True,
        ),
        Role("learner", "Who did it.", _LEARNER),
        Role(
            "phase",
            "Label of the experiment phase it fell into, as the app saw it.",
            ("phase", "phase_name", "protocol_phase", "experiment_phase"),
        ),
        Role("protocol", "The experiment it belongs to.", _PROTOCOL),
        Role("type", "What kind of thing was done.", ("event_type",)),
        Role("score", "How well it went, from 0 to 100.", ("session_performance_score", "performance_score", "score")),
        Role("engagement", "How engaged the learner was, such as HIGH.", ("engagement_level", "engagement")),
        Role("quality", "How thoroughly it was done, such as RUSHED.", ("completion_quality",)),
    ),
    sort_role="time",
    by_month=True,
    cluster_role="learner",
)

PROTOCOLS = TableContract(
    name="experiment_protocols",
    description="One n=1 experiment: who, what is tried, how the outcome is measured.",
    source_names=("experiment_protocols", "ExperimentProtocol"),
    roles=(
        Role("id", "Identifies the protocol.", ("id", *_PROTOCOL)),
        Role("learner", "Whose experiment it is.", _LEARNER),
        Role("name", "Its title.", ("protocol_name", "name")),
        Role("design", "Its design, such as ABAB.", ("design_type", "design")),
        Role("outcome", "The events column that is its outcome.", ("primary_outcome", "outcome")),
        Role("start", "When it starts, UTC.", ("start_date", "started_at")),
        Role("end", "When it ends, UTC; null while open.", ("end_date", "ended_at")),
        Role("plan", "How it is to be analysed, in words.", ("analysis_plan",)),
        Role("deviations", "Departures from the plan, as they were noted.", ("deviations",)),
        Role(
            "improvement",
            "Which way of the outcome is better: increase or decrease.",
            ("improvement", "improvement_direction", "direction_of_improvement", "better_direction"),
        ),
        Role(
            "time_zone",
            "The learner's time zone, such as Europe/Berlin.",
            ("time_zone", "learner_time_zone", "user_time_zone"),
        ),
    ),
    sort_role="start",
)

PHASES = TableContract(
    name="phase_assignments",
    description="One phase of a protocol; its planned length was drawn at random.",
    source_names=("phase_assignments", "PhaseAssignment"),
    roles=(
        Role("id", "Identifies the phase.", ("id", "phase_id", "phase_assignment_id")),
        Role("protocol", "The protocol it is part of.", _PROTOCOL),
        Role("label", "Its label within the protocol.", ("phase_label", "phase", "phase_name")),
        Role("type", "Baseline, intervention or withdrawal.", ("phase_type",)),
        Role("start", "When it starts, UTC.", ("start_date", "started_at")),
        Role("end", "When it ends, UTC; null for until the next one.", ("end_date", "ended_at")),
        Role("planned_days", "Its planned length in days.", ("planned_duration", "planned_days")),
        Role("parameters", "What was done, and how its length was drawn.", ("intervention_params", "parameters")),
        Role("seed", "Seed of that draw.", ("randomization_seed",)),
    ),
    sort_role="start",
)

RUNS = TableContract(
    name="analysis_runs",
    description="One analysis of a protocol, asked for or done.",
    source_names=("analysis_runs", "AnalysisRun"),
    roles=(
        Role("id", "Identifies the analysis run.", ("id", "run_id", "analysis_run_id")),
        Role("protocol", "The protocol it analyses.", _PROTOCOL),
        Role("name", "Its title.", ("run_name", "name")),
        Role("type", "Which analysis.", ("analysis_type",)),
        Role("parameters", "What was asked for.", ("input_params", "parameters")),
        Role("status", "How far it is.", ("status",)),
        Role("start", "When it started, UTC.", ("started_at",)),
        Role("end", "When it ended, UTC.", ("completed_at",)),
        Role("summary", "Its result, as this project writes it: verdict, sentence, numbers.", ("results_summary",)),
        Role("mlflow_run", "Its MLflow run.", ("mlflow_run_id",)),
    ),
    sort_role="start",
)

CONTRACTS = (EVENTS, PROTOCOLS, PHASES, RUNS)
BY_NAME = {contract.name: contract for contract in CONTRACTS}
JOINED = (
    (EVENTS.name, "learner", "learner"),
    (EVENTS.name, "protocol", "id"),
    (PHASES.name, "protocol", "id"),
    (RUNS.name, "protocol", "id"),
)
"""Roles whose values are those of a role of the protocols: table, role there, role of the protocols."""


def contract_sha256() -> str:
    """Hash of all contracts: a changed contract rebuilds what was built under the old one."""
    contracts = [asdict(contract) for contract in CONTRACTS]
    return sha256_hex(canonical_json(contracts, ascii_only=True, spaced=True))
