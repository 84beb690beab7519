"""Say how many days are missing, and whether they forbid the verdict that a test would give."""

from americano_pipelines.statistics.effect_interval import rejects
from americano_pipelines.statistics.missing_days import MissingDays
from americano_pipelines.statistics.outcome_digits import shown_p
from americano_pipelines.statistics.verdict import shown_level


def missing_doubts(missing: MissingDays, level: float) -> tuple[str, ...]:
    """Why missing days forbid the verdict that a test would give."""
    worst, bound = missing.worst_case_p, missing.worst_case_bound
    if not missing.is_unequal or missing.is_settled(level):
        return ()
    unequal = "the conditions lack values on unequal shares of their days"
    if worst is None or bound is None:
        return (f"{unequal}, and the worst values on them are known only for a test of the mean",)
    p = (
        f"p may be as large as {shown_p(bound)} ({shown_p(worst)} was reached)"
        if rejects(worst, level)
        else f"p is {'' if worst == bound else 'at least '}{shown_p(worst)}"
    )
    return (f"{unequal}, and with the worst values on them {p}, above the level of {shown_level(level)}",)


def missing_clause(missing: MissingDays, compared: tuple[str, str]) -> str:
    """How many days are missing, with the p of their difference and with the worst values on them."""
    if not missing.treatment_missing + missing.baseline_missing:
        return ""
    clause = missing.clause_of(*compared)
    if missing.p is None:
        return clause
    worst, bound = missing.worst_case_p, missing.worst_case_bound
    worst_case = ""
    if worst is not None and bound is not None:
        least, most = shown_p(worst), shown_p(bound)
        p = f"p = {least}" if least == most else f"p is at least {least} and at most {most}"
        worst_case = f"; with the worst values on them {p}"
    return f"{clause} (difference p = {shown_p(missing.p)}{worst_case})"
