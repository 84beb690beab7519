"""Say which trend the phases show, and which part of a difference it makes."""

from americano_pipelines.statistics.outcome_digits import decimals_for, format_outcome
from americano_pipelines.statistics.within_phase_trend import Trend


def trend_clause(trend: Trend | None, difference: float, part: float | None) -> str:
    """The trend in a clause; empty where none is visible.

    Args:
        trend: the trend within phases, None where none could be looked for.
        difference: the tested difference, in outcome units.
        part: how much of it the trend makes; None where what is compared are no means.
    """
    if trend is None or not trend.visible:
        return ""
    way = "rises" if trend.slope > 0 else "falls"
    slope = format_outcome(abs(trend.slope), decimals_for((trend.slope,)))
    clause = f"within phases the outcome {way} by {slope} a day"
    if part is None:
        return clause
    decimals = decimals_for((difference, part))
    return f"{clause}, which makes {format_outcome(part, decimals, sign=True)} of this difference"
