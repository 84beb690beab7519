"""State the formula, the variant and the source of every number that an analysis reports."""

from dataclasses import dataclass

from americano_pipelines.statistics.effect_interval import TwoSided
from americano_pipelines.statistics.segmented_regression import LAG_RULE


@dataclass(frozen=True)
class Formula:
    """How a number is made.

    Attributes:
        number: its name in the results.
        formula: m and n are days of baseline and treatment, sA and sB their standard deviations (n - 1).
        source: who defines it.
        note: what a reader who recomputes it has to know; empty where nothing is.
    """

    number: str
    formula: str
    source: str
    note: str = ""


_EDGINGTON = "Edgington and Onghena (2007), Randomization Tests"
_CASES = "SingleCaseES, Effect size definitions (Pustejovsky, Swan, Chen)"
_ERROR_NOTE = (
    "SingleCaseES multiplies this error by J as well. Not here: J corrects the bias of the value, and an error made "
    "smaller by it is too small; of 5 to 15 simulated normal days a phase and effects of 0 to 2, 95 % intervals with "
    "it held the true value as seldom as 86 times of 100, without it 93 to 99 times. Multiply by J to compare"
)
_INDEPENDENT = "takes the days for independent"


_STATISTICS = {
    "median": Formula(
        "observed",
        "mean of the treatment phases' medians - mean of the baseline phases' medians; of an alternation, median of "
        "the treatment days - median of the baseline days",
        "Edgington and Onghena (2007), any statistic that is chosen before",
    ),
    "slope": Formula(
        "observed",
        "mean of the treatment phases' least squares slopes - mean of the baseline phases', in units a day",
        "Levin, Ferron and Gafurov (2021), slope changes",
        "the interval is of an effect that grows by d a day within each treatment phase",
    ),
    "immediacy": Formula(
        "observed",
        "mean over the switches of: mean of the three days on the treatment's side - mean of the three days on the "
        "baseline's side",
        "Michiels and Onghena (2019); Kratochwill et al. (2010) for three days",
        "days without a value among the three are left out",
    ),
    "distance": Formula(
        "observed",
        "mean of |day - criterion in force| over the days of all phases with a criterion; smaller is more extreme",
        "Onghena, Tanious and De (2019); Ferron, Rohrer and Levin (2023)",
        "an effect has no size here, so there is no interval",
    ),
    "nap": Formula(
        "observed",
        "share of all pairs of a treatment and a baseline day in which the treatment day is higher, ties half, - 1/2",
        "Parker and Vannest (2009)",
        "of all days of the conditions together, not of neighbouring phases; higher counts, whichever way is better",
    ),
}
NEIGHBOURS = (
    Formula(
        "neighbouring days, adiso",
        "runs of days under one condition are paired in order; mean over the pairs of mean treatment - mean baseline, "
        "weighted by days",
        "Manolov (2019), A simulation study on two analytical techniques for alternating treatments designs",
        "a last run without a partner belongs to the pair before it; days without a value are left out",
    ),
    Formula(
        "neighbouring days, aliv",
        "mean over the days on which one condition is measured and the other lies between two of its measured days of "
        "treatment - baseline, the other one linearly interpolated",
        "Manolov and Onghena (2018), Analyzing data from single-case alternating treatments designs",
    ),
)
CONFORMITY = Formula(
    "criteria, mean distance and share within the band",
    "mean of |day - criterion| over the days of the phase; share of these days with |day - criterion| <= band",
    "McDougall (2005), range-bound changing criterion; Onghena, Tanious and De (2019) for the mean distance",
    "description only",
)
HOLM = Formula(
    "contrasts, p by Holm",
    "the k-th smallest of m p values times m - k + 1, at least the one before, at most 1",
    "Holm (1979)",
    "the set of a contrast holds the assignments that agree with the observed one on all days of other conditions; the "
    "primary contrast is judged by its own p; docs/decisions/0028-contrasts.md",
)


def randomization_formulas(direction: str, two_sided: TwoSided | None, statistic: str = "mean") -> tuple[Formula, ...]:
    """Of a randomization test.

    Args:
        direction: `increase`, `decrease` or `either`.
        two_sided: how a two-sided p was made, None of a one-sided test.
        statistic: what the conditions are compared by.
    """
    side = "low" if direction == "decrease" else "high"
    one_sided = f"assignments with a statistic at least as {side} as observed / all assignments"
    doubled = "min(1, 2 min(p_higher, p_lower)); as_extreme is the smaller of the two numbers of assignments"
    p = Formula("p", one_sided, _EDGINGTON)
    if two_sided == "doubled":
        p = Formula(
            "p",
            doubled,
            "Edgington and Onghena (2007); chosen by simulation, docs/decisions/0022-two-sided-p.md",
            "scan and SCRT count |statistic| >= |observed| instead, which differs where the set is not symmetric",
        )
    mean = Formula(
        "observed",
        "mean of the treatment phases' means - mean of the baseline phases' means; of an alternation, mean of the "
        "treatment days - mean of the baseline days",
        _EDGINGTON,
    )
    return (
        _STATISTICS.get(statistic, mean),
        p,
        Formula(
            "p of drawn assignments",
            "(b + 1) / (m + 1) for each side, b of m draws at least as extreme; its 99 % interval from b of m",
            "Phipson and Smyth (2010); Clopper and Pearson (1934)",
        ),
        Formula(
            "interval",
            "all d whose two-sided p, min(1, 2 min(p_higher, p_lower)) of the days less d on treated days, is above "
            "alpha",
            "Edgington and Onghena (2007), inversion of the test",
            "two-sided also beside a one-sided p",
        ),
        Formula(
            "missing days, p",
            "the two-sided test of 1 for a day without a value and 0 for a day with one, over the same assignments",
            _EDGINGTON,
        ),
        Formula(
            "missing days, worst_case_p",
            "the largest p that a search over values between the lowest and the highest observed one on the days "
            "without a value finds, and at least p; worst_case_bound is a p that no such values exceed: it counts each "
            "assignment that its own best values make as extreme",
            "bounds of Manski (1990), within the observed range",
            "no verdict of an effect where the shares of missing days differ (p <= .05, or by more than .15) and "
            "the bound is above alpha; docs/decisions/0023-missing-days.md",
        ),
    )


TREND = Formula(
    "dependence, trend within phases",
    "least squares slope of days less their phase's means; se sqrt(s^2 / Sxx) sqrt((1 + r) / (1 - r)), r = "
    "(k r0 + 1) / (k - 3) for k days a phase and r0 the residuals' autocorrelation at lag 1; p by t, days - phases - 1",
    "Kendall (1954) for the bias of r0; Bartlett (1946) for the factor",
    "in the sentence only at p <= .01, if the baseline phases alone show it at p <= .05 and both conditions have its "
    "sign: an effect that grows within the treatment phases is no trend; docs/decisions/0024-trend-within-phases.md",
)


def effect_formulas(*, ratio_scale: bool) -> tuple[Formula, ...]:
    """Of effect sizes of neighbouring phases.

    Args:
        ratio_scale: whether there are response ratios.
    """
    ratios = (
        Formula(
            "log_response_ratio",
            "ln(mean B / mean A) + sB^2 / (2 n mean B^2) - sA^2 / (2 m mean A^2)",
            f"Pustejovsky (2018); {_CASES}, R2",
            "only of positive means, so means are not truncated as in SingleCaseES",
        ),
        Formula("log_response_ratio_se", "sqrt(sA^2 / (m mean A^2) + sB^2 / (n mean B^2))", _CASES, _INDEPENDENT),
        Formula("log_median_ratio", "ln(median B / median A)", "Bonett and Price (2020)", "only of positive medians"),
    )
    return (
        Formula("mean_difference", "mean B - mean A", "by definition"),
        Formula("median_difference", "median B - median A", "by definition"),
        Formula(
            "overlap.nap", "share of the m n pairs in which B is better, ties half", "Parker and Vannest (2009)"
        ),
        Formula(
            "overlap.nap_se",
            "unbiased: sqrt((NAP (1 - NAP) + n Q1 + m Q2 - 2 Q3) / ((m - 1) (n - 1))), NAP half a pair off 0 and 1",
            "Sen (1967) and Mee (1990), as in SingleCaseES (SE = 'unbiased')",
            _INDEPENDENT,
        ),
        Formula("overlap.nap_interval", "Newcombe's method 5, 95 %", "Newcombe (2006)", _INDEPENDENT),
        Formula("overlap.tau", "2 NAP - 1", "Parker, Vannest, Davis and Sauber (2011)"),
        Formula(
            "overlap.tau_u",
            "(sum of signs of the m n pairs - sum of signs of the pairs within A) / (m n)",
            "Parker, Vannest, Davis and Sauber (2011): Tau-U with correction of the baseline trend, A vs B",
            "no standard error is known; it may leave -1 to 1",
        ),
        Formula(
            "overlap.pnd", "share of B days beyond the best A day", "Scruggs, Mastropieri and Casto (1987)",
            "it falls with the length of the baseline",
        ),
        Formula(
            "tau_bc.value",
            "Kendall's tau-b of condition and outcome, of the days less the trend of A where trend_removed",
            "Tarlow (2017)",
            "SingleCaseES takes the trend off always, unless pretest_trend is given; it uses Tau unless Kendall = TRUE",
        ),
        Formula(
            "tau_bc.trend_removed",
            "whether Kendall's test finds a trend of A (p < .05); the trend is the median of the slopes of all pairs",
            "Tarlow (2017); Sen (1968) for the slope",
        ),
        Formula("overlap.pem", "share of B days better than the median of A, ties half", "Ma (2006)"),
        Formula(
            "overlap.pand",
            "share of the m + n days that are left when the fewest are removed so that every B day is better than "
            "every A day",
            "Parker, Vannest and Davis (2011)",
        ),
        Formula(
            "overlap.ird",
            "((m + n)^2 PAND - m^2 - n^2) / (2 m n)",
            "Parker, Vannest and Brown (2009), robust; SingleCaseES",
        ),
        Formula(
            "smd_baseline.value", "J (mean B - mean A) / sA, J = 1 - 3 / (4 m - 5), positive where B is better",
            f"Gingerich (1984), Hedges (1981) for J; {_CASES}, baseline SD",
            "within one learner: not comparable with d between groups",
        ),
        Formula(
            "smd_baseline.se", "sqrt(1 / m + sB^2 / (n sA^2) + value^2 / (2 (m - 1)))", f"{_CASES}, without J",
            _ERROR_NOTE,
        ),
        Formula(
            "smd_pooled.value",
            "J (mean B - mean A) / sP, sP^2 = ((m - 1) sA^2 + (n - 1) sB^2) / (m + n - 2), J = 1 - 3 / (4 (m + n) - 9)",
            f"Hedges (1981); {_CASES}, pooled SD",
            "within one learner: not comparable with d between groups",
        ),
        Formula(
            "smd_pooled.se", "sqrt(1 / m + 1 / n + value^2 / (2 (m + n - 2)))", f"{_CASES}, without J", _ERROR_NOTE
        ),
        *(ratios if ratio_scale else ()),
        Formula("combined", "mean over the pairs that go from baseline to treatment", "by definition"),
    )  # fmt: skip


DEPENDENCE = (
    Formula("dependence, slope", "least squares slope within the phase", "by definition"),
    Formula(
        "dependence, nap_trend", "NAP of the last half of a phase against the first", "as WWC Handbook 5.0 uses NAP",
    ),
    Formula(
        "autocorrelation",
        "sum e(t) e(t + k) / sqrt(sum e(t)^2 sum e(t + k)^2) over the pairs that are both there, e less the mean",
        "moment estimate; it is biased towards -1 / days",
    ),
    Formula(
        "reversal NAP, baseline 2 against 1", "NAP with the first baseline as A and the second as B",
        "What Works Clearinghouse (2022), Handbook 5.0, appendix I",
    ),
)  # fmt: skip
SEGMENTED = (
    Formula(
        "regression.changes",
        "y = b0 + b1 day + for each later phase b (0 before, 1 from its first day) + b (0 before, days since then)",
        "Wagner et al. (2002); level counted at the first treated day",
    ),
    Formula("se, interval", "ordinary least squares, t with the residual degrees of freedom", "statsmodels OLS",
            _INDEPENDENT),
    Formula("hac_se, hac_interval", f"Bartlett weights, lag {LAG_RULE} unless given, no small-sample correction",
            "Newey and West (1987); statsmodels HAC"),
    Formula("durbin_watson, ljung_box_p", "of the residuals of least squares", "Durbin and Watson (1950); Ljung and "
            "Box (1978)"),
)  # fmt: skip
POSTERIOR = (
    Formula(
        "posterior.changes", "the same line; start, slopes and steps Normal(0, 2.5), sigma HalfNormal(1), in units of "
        "the outcome's standard deviation", "Bayesian regression by NUTS, PyMC",
    ),
    Formula("largest_r_hat, ess", "rank-normalised split R-hat; bulk and tail effective draws",
            "Vehtari et al. (2021)"),
)  # fmt: skip
CHANGE_POINTS = (
    Formula(
        "change points.days", "PELT with squared error; penalty factor x noise^2 x ln(days)",
        "Killick, Fearnhead and Eckley (2012)",
    ),
    Formula("noise", "median of the absolute differences of neighbouring days / (0.6745 sqrt 2)",
            "Donoho and Johnstone (1994)"),
)  # fmt: skip
