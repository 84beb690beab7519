"""The registry of analyses: the name, the parameters and the functions of each kind.

Dagster loads this module with the definitions, so import numpy only inside functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from americano_pipelines.analysis.parameters import (
    ABAB_VERSION,
    CHANGE_POINTS_VERSION,
    COMBINED_VERSION,
    MULTIPLE_BASELINE_VERSION,
    SEGMENTED_VERSION,
    TRAINING_VERSION,
    AbabParameters,
    ChangePointParameters,
    CombinedParameters,
    MultipleBaselineParameters,
    Parameters,
    SegmentedParameters,
    TrainingParameters,
)
from americano_pipelines.sources.contracts import EVENTS

if TYPE_CHECKING:
    import duckdb

    from americano_pipelines.analysis.combined_extract import CombinedExtract
    from americano_pipelines.analysis.extract import BaseExtract, Extract
    from americano_pipelines.analysis.group_extract import GroupExtract
    from americano_pipelines.analysis.result import Analysis
    from americano_pipelines.analysis.training.data import TrainingData
    from americano_pipelines.settings import Settings
    from americano_pipelines.warehouse.snapshot_record import SnapshotRecord


Scope = Literal["protocol", "group", "all learners"]
"""What an analysis is of: one protocol, a group of protocols, or all learners."""


@dataclass(frozen=True)
class Basis:
    """What an analysis depends on beside its extract and its parameters.

    Attributes:
        snapshot_id: the snapshot that the extract is from.
        as_of_us: the instant of the data, microseconds since 1970 UTC.
        compliance: `planned`, `declared` or `exploratory`, for the pictures; None for an analysis that no protocol
            plans.
    """

    snapshot_id: str
    as_of_us: int
    compliance: str | None


ReadExtract = Callable[["duckdb.DuckDBPyConnection", "Settings", "SnapshotRecord", str | None, str | None], Any]


@dataclass(frozen=True)
class Kind:
    """A kind of analysis.

    Attributes:
        name: name of the asset, of the MLflow run and in records.
        title: name for people.
        version: version of the analysis; another one may give other numbers.
        description: what it does.
        parameters: class of its parameters.
        assets: keys of the assets that it reads, with slashes.
        read_extract: reads its extract, from the published file, the settings, the file's record, the protocol's id
            or the group's key, and the outcome that was given; the last two are None for an analysis of all learners.
        parse_extract: reads its extract back from the canonical text.
        analyse: computes the result from the extract, the parameters and the basis.
        scope: what it is of; its asset has a partition for each protocol or each group.
        libraries: what it uses beside numpy, as Dagster's UI names it.
        combines: names of the analyses whose records it reads.
    """

    name: str
    title: str
    version: str
    description: str
    parameters: type[Parameters]
    assets: tuple[str, ...]
    read_extract: ReadExtract
    parse_extract: Callable[[bytes], "BaseExtract"]
    analyse: Callable[[Any, Any, Basis], "Analysis"]
    scope: Scope = "protocol"
    libraries: tuple[str, ...] = ()
    combines: tuple[str, ...] = ()


def _read_protocol(
    connection: "duckdb.DuckDBPyConnection",
    settings: "Settings",
    document: "SnapshotRecord",
    protocol_id: str | None,
    outcome: str | None,
) -> "Extract":
    from americano_pipelines.analysis.extract_reading import read_extract

    return read_extract(connection, settings, document, protocol_id or "", outcome)


def _parse_protocol(text: bytes) -> "Extract":
    from americano_pipelines.analysis.extract import Extract

    return Extract.parse(text)


def _abab(extract: "Extract", parameters: AbabParameters, basis: Basis) -> "Analysis":
    from americano_pipelines.analysis.abab import analyse_abab
    from americano_pipelines.analysis.daily_series import observe

    return analyse_abab(
        observe(extract), parameters, as_of_us=basis.as_of_us, compliance=basis.compliance or "exploratory"
    )


def _read_group(
    connection: "duckdb.DuckDBPyConnection",
    settings: "Settings",
    document: "SnapshotRecord",
    group: str | None,
    outcome: str | None,
) -> "GroupExtract":
    from americano_pipelines.analysis.group_extract import read_group

    return read_group(connection, settings, document, group or "", outcome)


def _parse_group(text: bytes) -> "GroupExtract":
    from americano_pipelines.analysis.group_extract import GroupExtract

    return GroupExtract.parse(text)


def _multiple_baseline(extract: "GroupExtract", parameters: MultipleBaselineParameters, basis: Basis) -> "Analysis":
    from americano_pipelines.analysis.multiple_baseline import analyse_multiple_baseline

    return analyse_multiple_baseline(
        extract, parameters, as_of_us=basis.as_of_us, compliance=basis.compliance or "exploratory"
    )


def _read_combined(
    connection: "duckdb.DuckDBPyConnection",
    settings: "Settings",
    document: "SnapshotRecord",
    group: str | None,
    outcome: str | None,
) -> "CombinedExtract":
    from americano_pipelines.analysis.combined_extract import read_combined

    return read_combined(connection, settings, document, group or "", outcome)


def _parse_combined(text: bytes) -> "CombinedExtract":
    from americano_pipelines.analysis.combined_extract import CombinedExtract

    return CombinedExtract.parse(text)


def _combined(extract: "CombinedExtract", parameters: CombinedParameters, basis: Basis) -> "Analysis":
    from americano_pipelines.analysis.combined import analyse_combined

    return analyse_combined(extract, parameters, compliance=basis.compliance or "exploratory")


def _interrupted(extract: "Extract", parameters: SegmentedParameters, _: Basis) -> "Analysis":
    from americano_pipelines.analysis.daily_series import observe
    from americano_pipelines.analysis.interrupted_time_series import analyse_interrupted

    return analyse_interrupted(observe(extract), parameters)


def _change_points(extract: "Extract", parameters: ChangePointParameters, _: Basis) -> "Analysis":
    from americano_pipelines.analysis.daily_series import observe
    from americano_pipelines.analysis.interrupted_time_series import analyse_change_points

    return analyse_change_points(observe(extract), parameters)


def _read_training(
    connection: "duckdb.DuckDBPyConnection",
    settings: "Settings",
    document: "SnapshotRecord",
    _: str | None,
    __: str | None,
) -> "TrainingData":
    from americano_pipelines.analysis.training.data import read_training_data

    return read_training_data(connection, settings, document)


def _parse_training(text: bytes) -> "TrainingData":
    from americano_pipelines.analysis.training.data import TrainingData

    return TrainingData.parse(text)


def _train(extract: "TrainingData", parameters: TrainingParameters, basis: Basis) -> "Analysis":
    from americano_pipelines.analysis.training.model import train

    return train(extract, parameters, basis.snapshot_id)


_EVENTS = f"analytics/{EVENTS.name}"
_PROTOCOL = ("research/protocols", "research/phases", _EVENTS)
TRAINING = "training_demo"
ABAB, MULTIPLE_BASELINE, COMBINED = "abab_randomization", "multiple_baseline", "combined"

KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            ABAB,
            "randomization test",
            ABAB_VERSION,
            "Tests whether the treatment made a difference, against all phase lengths that could have been drawn.",
            AbabParameters,
            _PROTOCOL,
            _read_protocol,
            _parse_protocol,
            _abab,
        ),
        Kind(
            "interrupted_time_series",
            "interrupted time series",
            SEGMENTED_VERSION,
            "Describes level and slope of each phase and where they change; judges nothing.",
            SegmentedParameters,
            _PROTOCOL,
            _read_protocol,
            _parse_protocol,
            _interrupted,
        ),
        Kind(
            "change_points",
            "change points",
            CHANGE_POINTS_VERSION,
            "Searches for changes of level at unknown days; exploration, judges nothing.",
            ChangePointParameters,
            _PROTOCOL,
            _read_protocol,
            _parse_protocol,
            _change_points,
        ),
        Kind(
            MULTIPLE_BASELINE,
            "multiple baseline",
            MULTIPLE_BASELINE_VERSION,
            "Tests whether the treatment made a difference in the cases of a group, against all joint starts of "
            "treatment that could have been drawn.",
            MultipleBaselineParameters,
            _PROTOCOL,
            _read_group,
            _parse_group,
            _multiple_baseline,
            scope="group",
        ),
        Kind(
            COMBINED,
            "combined analysis",
            COMBINED_VERSION,
            "Combines the planned randomization tests of a group's protocols: their p values, and the mean of their "
            "effects. It reads the records of these tests.",
            CombinedParameters,
            ("research/protocols", "research/phases"),
            _read_combined,
            _parse_combined,
            _combined,
            scope="group",
            libraries=("statsmodels",),
            combines=(ABAB,),
        ),
        Kind(
            TRAINING,
            TRAINING,
            TRAINING_VERSION,
            "Predicts from what was known before it whether a score will be high, and says how much better that is "
            "than knowing nothing. The model is registered in MLflow.",
            TrainingParameters,
            (_EVENTS,),
            _read_training,
            _parse_training,
            _train,
            scope="all learners",
            libraries=("scikitlearn",),
        ),
    )
}
PROTOCOL_KINDS = {name: kind for name, kind in KINDS.items() if kind.scope == "protocol"}
GROUP_KINDS = {name: kind for name, kind in KINDS.items() if kind.scope == "group"}
