"""List what one recorded analysis compared: contrasts, criteria, cases of a group, or combined experiments."""

from collections.abc import Iterator, Mapping
from typing import Any

COLUMNS = ("compared", "name", "effect", "interval_low", "interval_high", "p", "adjusted_p", "verdict", "note")
"""The fields of each row; a number that does not exist is None."""

Results = Mapping[str, Any]


def result_rows(results: Results) -> list[dict[str, Any]]:
    """A row for each comparison in the results of a record; empty where there is one comparison alone.

    Args:
        results: of the record.
    """
    rows = [*_contrasts(results), *_criteria(results), *_cases(results), *_experiments(results)]
    return [dict.fromkeys(COLUMNS) | row for row in rows]


def _contrasts(results: Results) -> Iterator[dict[str, Any]]:
    """The declared contrasts; the test and the verdict of the primary one are those of the analysis."""
    for index, row in enumerate(results.get("contrasts") or ()):
        test = results["test"] if index == 0 else row["test"]
        interval = test.get("interval") or {}
        yield {
            "compared": "contrast",
            "name": row["contrast"].replace("-", " against "),
            "effect": test.get("observed"),
            "interval_low": interval.get("low"),
            "interval_high": interval.get("high"),
            "p": row["p"],
            "adjusted_p": row["p by Holm"] if index else None,
            "verdict": (results if index == 0 else row)["verdict"]["state"],
            "note": "primary" if index == 0 else "p by Holm decides",
        }


def _criteria(results: Results) -> Iterator[dict[str, Any]]:
    """The mean distance of the days of each phase from its criterion."""
    for row in results.get("criteria") or ():
        share = row["share within the band"]
        within = "" if share is None else f", {share:.0%} of them within {row['band']:g}"
        yield {
            "compared": "criterion",
            "name": f"{row['phase']}, {row['criterion']:g}",
            "effect": row["mean distance"],
            "note": f"mean distance of {row['days with a value']} days{within}",
        }


def _cases(results: Results) -> Iterator[dict[str, Any]]:
    """The difference of means of each case of a multiple baseline."""
    for row in (results.get("effects") or {}).get("cases") or ():
        yield {
            "compared": "case",
            "name": row["case"],
            "effect": row["mean_difference"],
            "note": "treatment minus baseline, tested jointly",
        }


def _experiments(results: Results) -> Iterator[dict[str, Any]]:
    """The tests that a combined analysis counts, what it leaves out, and their mean effect."""
    for row in results.get("experiments") or ():
        yield {
            "compared": "experiment",
            "name": row["protocol"],
            "effect": row["effect"],
            "p": row["p"],
            "verdict": row["verdict"],
            "note": f"standardized difference, positive is better; {row['standing']}, record {row['record'][:12]}",
        }
    for row in results.get("left out") or ():
        yield {"compared": "left out", "name": row["protocol"], "note": row["why"]}
    if mean := results.get("random effects"):
        low, high = mean["interval"]
        yield {
            "compared": "mean effect",
            "name": f"of {len(mean['weights'])} experiments",
            "effect": mean["mean"],
            "interval_low": low,
            "interval_high": high,
            "p": results["combined p"][results["method"]]["p"],
            "note": f"tau {mean['tau']:.2f}; p by {results['method'].capitalize()}",
        }
