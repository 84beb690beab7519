"""State the formula, the variant and the source of every number that an analysis reports."""

from dataclasses import dataclass

from americano_pipelines.statistics.effect_interval import TwoSided
from americano_pipelines.statistics.effect_sizes import OutcomeScale
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
    """The formulas of a randomization test.

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


def multiple_baseline_formulas(direction: str) -> tuple[Formula, ...]:
    """The formulas of the test of a multiple baseline; the direction is `increase`, `decrease` or `either`."""
    observed = Formula(
        "observed",
        "mean over the cases of (mean of the case's treatment days - mean of its baseline days)",
        "Marascuilo and Busk (1988); Wampold and Worsham (1986); Koehler and Levin (1998)",
        "an assignment is one start of treatment for each case",
    )
    _, *others = randomization_formulas(direction, "doubled" if direction == "either" else None)
    return observed, *others


COMBINED_FORMULAS = (
    Formula(
        "edgington",
        "sum over j up to S of (-1)^j C(k, j) (S - j)^k / k!, S the sum of k one-sided p",
        "Edgington (1972), Journal of Psychology 80, 351-363",
        "exact for uniform p; too large, if anything, for discrete ones",
    ),
    Formula("stouffer", "1 - Phi(sum of Phi^-1(1 - p) / sqrt(k)), all weights alike", "Stouffer et al. (1949)"),
    Formula("p", "min(1, 2 min(p_benefit, p_harm))", "both ways have half of the level"),
    Formula(
        "effect, se",
        "mean of smd_pooled.value over the pairs from baseline to treatment; sqrt(sum of se^2) / pairs",
        "Hedges (1981)",
        _INDEPENDENT,
    ),
    Formula("tau", "Paule and Mandel: Q with weights 1 / (se^2 + tau^2) is k - 1", "Paule and Mandel (1982)"),
    Formula(
        "interval",
        "mean +- t(k - 1) se sqrt(max(1, sum w (effect - mean)^2 / (k - 1)))",
        "Hartung and Knapp (2001); at least 1: Rover, Knapp and Friede (2015)",
    ),
    Formula("prediction", "mean +- t(k - 2) sqrt(tau^2 + 1 / sum w)", "Higgins, Thompson and Spiegelhalter (2009)"),
)
_BETWEEN = "Hedges, Pustejovsky and Shadish (2013), Research Synthesis Methods 4, 324-341; scdhlm, effect_size_MB"
BETWEEN_CASES = (
    Formula(
        "between cases, value",
        "J(v) D / S, J(v) = 1 - 3 / (4 v - 1), D the mean difference of the cases, S^2 the squares of the days less "
        "the mean of all cases' days at that time under that condition / (days - such means), v its degrees of freedom",
        _BETWEEN,
        "comparable to d of trials with groups; taken for granted: levels are normal between learners, no trend, one "
        "effect for all. Positive is better. With 3 cases v is small, and the error is itself uncertain",
    ),
    Formula(
        "between cases, se",
        "J sqrt(e^2 v / (v - 2) + value^2 (v / (v - 2) - 1 / J^2)), e the error of D / S with days that correlate by "
        "r + (1 - r) a^distance within a case; r intraclass, a autocorrelation",
        _BETWEEN,
        "v is at least 2.001 in it",
    ),
    Formula("between cases, interval", "value -+ t(v) se, 95 %", "scdhlm, CI_g with symmetric = TRUE"),
    Formula(
        "between cases, autocorrelation and intraclass",
        "a = sum e(t) e(t + 1) / sum e(t)^2 + sum (1 - 1 / n) / (days - 2 cases), e the days less their phase's mean, "
        "n the days of each phase; r = 1 - s^2 / S^2, at least 0, s^2 the variance within cases corrected for a",
        _BETWEEN,
        "days with a value follow each other, also where others without one lie between them",
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


def effect_formulas(scale: OutcomeScale) -> tuple[Formula, ...]:
    """The formulas of effect sizes of neighbouring phases.

    Args:
        scale: what is known of the scale of the outcome: ratios, odds and goals are only of some.
    """
    odds = (
        Formula(
            "log_odds_ratio.value",
            "L(B) - L(A), L = ln(p / (1 - p)) - (2 p - 1) s^2 / (2 n p^2 (1 - p)^2) of a phase, p its mean / highest",
            f"Pustejovsky (2015); {_CASES}, LOR with bias correction",
            "only of means between 0 and the highest value, so means are not truncated as in SingleCaseES",
        ),
        Formula(
            "log_odds_ratio.se", "sqrt(sA^2 / (m pA^2 (1 - pA)^2) + sB^2 / (n pB^2 (1 - pB)^2))", _CASES, _INDEPENDENT
        ),
    )
    goals = (
        Formula(
            "goal_obtained.value",
            "PoGO: 100 (mean B - mean A) / (goal - mean A)",
            "Ferron, Goldstein, Olszewski and Rohrer (2020)",
            "only where the goal is better than the mean of A",
        ),
        Formula(
            "goal_obtained.se",
            "100 / |goal - mean A| sqrt(sB^2 / n + (1 - t)^2 sA^2 / m), t = value / 100",
            "delta method; Dunlap and Silver (1986)",
            "SingleCaseES has 1 + t^2 where (1 - t)^2 is here: it leaves out that the mean of A is in both parts of "
            "the ratio",
        ),
    )
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
        Formula("mean_difference_se", "sqrt(sA^2 / m + sB^2 / n)", "Welch (1938)", _INDEPENDENT),
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
        Formula("tau_bc.se", "sqrt(2 (1 - value^2) / (m + n))", "Tarlow (2017)", _INDEPENDENT),
        Formula(
            "tau_bc.p", "of Kendall's test with correction for ties, normal approximation", "Kendall (1970); as scan's "
            "corrected_tau", _INDEPENDENT,
        ),
        Formula(
            "tau_bc.always_removed", "2 NAP - 1 of the days less the trend of A, whether it is significant or not",
            f"{_CASES}, Tau-BC",
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
        *(ratios if scale.ratio else ()),
        *(odds if scale.highest is not None else ()),
        *(goals if scale.goal is not None else ()),
        Formula("combined", "mean over the pairs that go from baseline to treatment", "by definition"),
        Formula(
            "combined with interval, se", "sqrt(sum of the squared errors of the pairs) / number of pairs",
            f"{_CASES}, batch_calc_ES with weighting = 'equal'", _INDEPENDENT,
        ),
        Formula(
            "combined with interval, interval", "value -+ t se, t with (sum v)^2 / sum(v^2 / (m + n - 2)) degrees of "
            "freedom, v the squared errors of the pairs; of NAP within 0 and 1", "Satterthwaite (1946)",
            "SingleCaseES takes the normal distribution, which is narrower",
        ),
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
VISUAL = (
    Formula("visual analysis, level", "mean and median of the days of a phase", "Kratochwill et al. (2010)"),
    Formula("visual analysis, trend", "least squares slope of the days of a phase", "Kratochwill et al. (2010)"),
    Formula(
        "visual analysis, variability", "sd and range; stable where 80 % of the days lie within 25 % of the median",
        "Gast and Ledford (2014)", "per cents of an outcome with a true zero: left out where a day is negative",
    ),
    Formula(
        "visual analysis, immediacy",
        "mean of the three B days nearest to the switch - mean of the three A days nearest to it",
        "Kratochwill et al. (2010)",
    ),
    Formula("visual analysis, overlap", "NAP and PND, as with the effects", "Kratochwill et al. (2010)"),
    Formula(
        "visual analysis, consistency",
        "level, slope and sd of a phase less those of an earlier phase of its condition; "
        "level in sd: by the pooled sd of both", "Manolov, Tanious and Onghena (2022)",
    ),
    Formula(
        "visual analysis, projection of the baseline", "B days less the least squares line of the A days before them",
        "White and Haring (1980); Manolov and Solanas (2013), with least squares",
        "a line through few days leads far from where it was drawn",
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
    Formula(
        "reml",
        "the same line, errors e(t) = r^g e(t - g) + new; r has the highest restricted likelihood within -.98 and .98, "
        "coefficients by generalised least squares, t with the residual degrees of freedom",
        "Pinheiro and Bates (2000), section 5.3; as nlme's gls(correlation = corAR1(form = ~ day), method = 'REML')",
        "the errors do not know that r is estimated",
    ),
    Formula("durbin_watson, ljung_box_p", "of the residuals of least squares", "Durbin and Watson (1950); Ljung and "
            "Box (1978)"),
)  # fmt: skip
POSTERIOR = (
    Formula(
        "posterior.changes", "the same line, AR(1) errors; start, slopes and steps Normal(0, 2.5), sigma "
        "HalfNormal(1), in units of the outcome's standard deviation; autocorrelation Normal(0, 0.5) within -1 and 1",
        "Bayesian regression by NUTS, PyMC",
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
