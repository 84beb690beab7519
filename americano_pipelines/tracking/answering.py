"""Which rows of the app an analysis may answer: those of its protocol that ask for what it is.

Here belongs only that judgement, made before a row is taken and before one is completed by hand. How a row is taken
is `requests.py`; what a row asks for is read by `asked.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from americano_pipelines.analysis.catalog import KINDS, REQUESTABLE, app_type
from americano_pipelines.errors import LinkError


@dataclass(frozen=True)
class Answer:
    """An analysis, as far as it decides which rows it may answer.

    Attributes:
        protocol_id: its protocol, None for an analysis that is of none.
        analysis: its name here.
        app_type: what the app calls it, None when the app's enum has no word for it.
    """

    protocol_id: str | None
    analysis: str
    app_type: str | None

    def check(self, analysis_run_id: str, protocol_id: str, analysis_type: str) -> None:
        """Make sure that a row is of this protocol and asks for this analysis.

        An analysis that the app has no word for may answer a row of a type that nothing here answers. One that
        another analysis answers it may not: a row that asks for a Bayesian model never gets least squares.

        Args:
            analysis_run_id: the row.
            protocol_id: its protocol.
            analysis_type: what it asks for, in the app's word.

        Raises:
            LinkError: it is another's; the message says what it is.
        """
        wanted = analysis_type not in REQUESTABLE if self.app_type is None else analysis_type == self.app_type
        if not wanted or self.protocol_id not in (None, protocol_id):
            raise LinkError(
                f"row {analysis_run_id!r} is {analysis_type} of protocol {protocol_id}, not {self._label}; it is left "
                "as it is"
            )

    @property
    def _label(self) -> str:
        name = self.app_type or f"{self.analysis} as asked, for which the app has no word"
        return name if self.protocol_id is None else f"{name}, of protocol {self.protocol_id}"


def answer_of(protocol_id: str | None, analysis: str, given: Mapping[str, Any]) -> Answer:
    """The answer that an analysis is.

    Args:
        protocol_id: its protocol, None for an analysis that is of none.
        analysis: its name here.
        given: its parameters. They need be neither complete nor valid, for they are judged where they are used: of
            one that is left out the default counts.
    """
    kind = KINDS.get(analysis)
    called = app_type(kind.name, kind.parameters.model_construct(**given)) if kind else None
    return Answer(protocol_id, analysis, called)
