"""The result of any analysis: a sentence, JSON, figures and a methods paragraph."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import JsonValue

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline


@dataclass(frozen=True)
class TrainedModel:
    """A model that an analysis trained, to be registered.

    Attributes:
        name: name in the registry.
        pipeline: takes raw features under their names and gives 1 for high, else 0.
        example: quartiles of the training part's features, which are no learner's row; shape (3, features).
    """

    name: str
    pipeline: "Pipeline"
    example: "pd.DataFrame"


class Pictures(Mapping[str, bytes]):
    """PNGs by file name, each drawn when it is first read: a repetition compares results and needs none of them."""

    def __init__(self, drawings: Mapping[str, Callable[[], bytes]]) -> None:
        """Keep how each picture is drawn, by file name."""
        self._drawings = dict(drawings)
        self._drawn: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        if name not in self._drawn:
            self._drawn[name] = self._drawings[name]()
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._drawings)

    def __len__(self) -> int:
        return len(self._drawings)


@dataclass(frozen=True)
class Analysis:
    """The result of an analysis.

    Attributes:
        name: name of its kind.
        version: version of the analysis; another one may give other numbers.
        sentence: the result, for people.
        results: the whole result, as JSON.
        pictures: file name to PNG, drawn when it is read.
        methods: the methods paragraph, as a paper could print it; empty for an analysis without a report.
        verdict: the state of the verdict: `benefit`, `harm`, `not shown` or `no verdict`; None for an analysis that
            judges nothing.
        numbers: the key numbers by a short name, as metrics of a run; None where one is undefined.
        counts: what was read and what was left out, by reason.
        files: name to content of the files beside the pictures.
        series: metric to a value per step from 0 on.
        seed: seed of the random numbers it drew, None when it drew none.
        generator: their generator, None when there is none.
        model: the model that was trained, None for an analysis that trains none.
    """

    name: str
    version: str
    sentence: str
    results: dict[str, JsonValue]
    pictures: Pictures
    methods: str
    verdict: str | None
    numbers: Mapping[str, float | None]
    counts: dict[str, int]
    files: Mapping[str, bytes]
    series: Mapping[str, Sequence[float]] = field(default_factory=dict)
    seed: int | None = None
    generator: str | None = None
    model: TrainedModel | None = None

    @property
    def recorded_results(self) -> dict[str, JsonValue]:
        """The results as they are recorded: with the methods paragraph, so that it can be quoted later."""
        return {**self.results, "methods": self.methods} if self.methods else self.results
