"""Define the tables of pages only."""

from americano_pipelines.serving.answer_tables import AnswerTable, Column, Statement

PERIODS = AnswerTable(
    "periods",
    "When the phases of each protocol start and end",
    (Statement("protocol_periods", ("phases",)),),
    {
        "protocol_id": Column("string", "The protocol."),
        "starts_at": Column("date-time", "When its first phase starts, UTC."),
        "ends_at": Column("date-time", "When its last phase ends, UTC."),
    },
)
LEARNER_DAYS = AnswerTable(
    "learner_days",
    "Events of a learner by day (UTC) and type",
    (Statement("learner_days", ("events",)),),
    {
        "day": Column("date", "The day."),
        "event_type": Column("string", "The type."),
        "events": Column("integer", "How many."),
    },
)
