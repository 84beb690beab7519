"""Verify a crate: python verify.py [FOLDER]. It needs Python and numpy, and nothing else of the project that wrote it.

The record is the root: its hash names it in the project's archive, in MLflow and in the app. Everything else is
compared with the record. The modules in the crate are run; look at them first if you do not trust their author.
"""

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

RECORD, DAYS, RESULTS, MODULES = "record.json", "days.json", "results.json", "modules/americano_pipelines"
# What the record cannot hold the hash of, for it is written after it.
STAMP = "record.tsr"
WRITTEN_AFTER = frozenset({RECORD, "ro-crate-metadata.json", "verify.py", "README.md", STAMP})
RELATIVE, ABSOLUTE = 1e-9, 1e-9
MOST_ASSIGNMENTS = 5_000_000


def sha256(content: bytes) -> str:
    """Hash bytes."""
    return hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> bytes:  # noqa: ANN401 - JSON
    """The form of a JSON value whose hash is recorded."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


class Report:
    """What was found: ok, fault, or unknown; each with words."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def add(self, status: str, words: str) -> None:
        """Note a finding."""
        self.lines.append((status, words))

    @property
    def faults(self) -> int:
        """How many faults there are."""
        return sum(status == "FAULT" for status, _ in self.lines)


def check_files(folder: Path, record: Mapping[str, Any], report: Report) -> None:
    """Hash every file, and compare it with the record."""
    artifacts, withheld, good = record["artifacts"], [], 0
    for name, artifact in sorted(artifacts.items()):
        path = folder / name
        if not path.is_file():
            withheld.append(name)
        elif sha256(path.read_bytes()) == artifact["sha256"]:
            good += 1
        else:
            report.add("FAULT", f"{name} is not the recorded file")
    report.add("ok", f"{good} files have the recorded hashes")
    if withheld:
        report.add("unknown", f"not in this crate, only their hashes are recorded: {', '.join(withheld)}")
    listed = listed_files(folder)
    for path in sorted(item for item in folder.rglob("*") if item.is_file()):
        name = path.relative_to(folder).as_posix()
        if name in artifacts or name in WRITTEN_AFTER or name.startswith(f"{MODULES}/") or "__pycache__" in name:
            continue
        report.add("FAULT", f"{name} is no part of the record")
    if missing := sorted(listed - {item.relative_to(folder).as_posix() for item in folder.rglob("*")}):
        report.add("FAULT", f"listed in ro-crate-metadata.json and not there: {', '.join(missing)}")


def listed_files(folder: Path) -> set[str]:
    """The files that the crate's own metadata lists."""
    graph = json.loads((folder / "ro-crate-metadata.json").read_text(encoding="utf-8"))["@graph"]
    return {str(item["@id"]) for item in graph if "File" in item.get("@type", ())}


def check_modules(folder: Path, record: Mapping[str, Any], report: Report) -> bool:
    """Hash the modules as a whole; whether they are those that the analysis ran with."""
    package = folder / MODULES
    texts = {
        path.relative_to(package).as_posix(): path.read_bytes().decode()
        for path in package.rglob("*")
        if path.suffix in {".py", ".sql"}
    }
    recorded = record.get("module_bundle_sha256")
    if recorded is None:
        report.add("unknown", "the modules that the analysis ran with were not kept")
        return False
    right = bool(sha256(canonical(texts)) == recorded)
    words = f"{len(texts)} modules are those that the analysis ran with"
    report.add("ok" if right else "FAULT", words if right else "the modules are not those that the analysis ran with")
    return right


def check_results(folder: Path, record: Mapping[str, Any], report: Report) -> None:
    """Compare results.json with the results in the record."""
    path = folder / RESULTS
    if path.is_file():
        same = json.loads(path.read_bytes()) == record["results"]
        report.add("ok" if same else "FAULT", f"{RESULTS} {'holds' if same else 'does not hold'} the recorded results")


def check_by_modules(folder: Path, record: Mapping[str, Any], report: Report) -> None:
    """Compute the results again from the days, by the modules in the crate."""
    days = json.loads((folder / DAYS).read_bytes())
    sys.path.insert(0, str(folder / "modules"))
    sys.dont_write_bytecode = True
    try:
        from americano_pipelines.statistics.recompute import recompute
    except ImportError as error:
        report.add("unknown", f"the modules cannot be run here: {error}")
        return
    parts, missing = recompute(record["identity"]["analysis"], days)
    compared, differing = 0, []
    for path, again in leaves("", parts):
        was = value_at(record["results"], path)
        if was is LACKING:
            continue
        compared += 1
        if not close(was, again):
            differing.append(f"{path}: recorded {was!r}, computed {again!r}")
    for words in differing:
        report.add("FAULT", f"by the modules: {words}")
    if not differing:
        names = ", ".join(parts)
        report.add("ok", f"by the modules: {compared} values computed again from the days are the recorded ({names})")
    for words in missing:
        report.add("unknown", f"by the modules: {words}")


LACKING = object()


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """Every plain value inside, by its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
    else:
        for name, item in items:
            yield from leaves(f"{path}\0{name}" if path else str(name), item)


def value_at(value: Any, path: str) -> Any:  # noqa: ANN401 - JSON
    """The value at a path, LACKING where there is none."""
    for name in path.split("\0"):
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return LACKING
    return value


def close(was: Any, again: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether two values are the same but for rounding."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (was, again))
    if numbers:
        return math.isclose(was, again, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(was) is type(again) and bool(was == again)


def check_independently(folder: Path, record: Mapping[str, Any], report: Report) -> None:
    """Do the randomization test again by plain numpy, without the modules."""
    days = json.loads((folder / DAYS).read_bytes())
    test, recorded = days.get("test"), record["results"].get("test")
    if test is None or not isinstance(recorded, dict) or recorded.get("p") is None:
        return
    counted = count_assignments(test, recorded.get("seed"))
    if counted is None:
        report.add("unknown", "by numpy alone: there are too many assignments to look at one by one")
        return
    observed, candidates, sampled = counted
    if not close(recorded["observed"], observed):
        words = f"the difference is {observed!r}, recorded is {recorded['observed']!r}"
        report.add("FAULT", f"by numpy alone: {words}")
    direction = days["parameters"]["direction"]
    names = ("twice the smaller side", "absolute value") if direction == "either" else (direction,)
    low, high = recorded.get("p_interval") or (recorded["p"], recorded["p"])
    possible = {name: candidates[name] for name in names}
    right = [name for name, p in possible.items() if low - margin(p, sampled) <= p <= high + margin(p, sampled)]
    if right:
        words = f"p = {recorded['p']:.6g} ({right[0]}) and the difference of {observed:.6g} come out again"
        report.add("ok", f"by numpy alone: {words}")
    else:
        report.add("FAULT", f"by numpy alone: p is {possible}, recorded is {recorded['p']!r}")


def count_assignments(test: Mapping[str, Any], seed: int | None) -> tuple[float, dict[str, float], bool] | None:
    """The observed difference, p by each way to count, and whether it was estimated. Thirty lines, on purpose."""
    values = np.array([np.nan if value is None else value for value in test["values"]], dtype=float)
    schedule, observed = test["schedule"], np.array(test["observed"])
    if schedule["kind"] == "PhaseSchedule":
        lengths = phase_lengths(schedule)
        treated, cut = np.array(schedule["treated"]), np.array(schedule["cut"] or [False] * len(schedule["treated"]))

        def difference(row: np.ndarray) -> float:
            ends = np.cumsum(row)
            means = np.array([mean(values[a + c : b]) for a, b, c in zip(ends - row, ends, cut, strict=True)])
            return float(means[treated].mean() - means[~treated].mean())
    else:
        lengths = day_orders(schedule)

        def difference(row: np.ndarray) -> float:
            return mean(values[row == 1]) - mean(values[row == 0])

    if lengths is None:
        return None
    rng, drawn = np.random.default_rng(seed), len(lengths) > DRAWN
    rows = lengths[rng.integers(len(lengths), size=DRAWN)] if drawn else lengths
    own, all_of_them = difference(observed), np.array([difference(row) for row in rows])
    empty, ties = np.isnan(all_of_them), 1e-9 * float(np.nanmax(np.abs(values - np.nanmean(values))))
    besides = 1 if drawn or not (lengths == observed).all(axis=1).any() else 0
    share = {
        "increase": (empty | (all_of_them >= own - ties)).sum(),
        "decrease": (empty | (all_of_them <= own + ties)).sum(),
        "absolute value": (empty | (np.abs(all_of_them) >= abs(own) - ties)).sum(),
    }
    p = {name: float((count + besides) / (len(rows) + besides)) for name, count in share.items()}
    return own, {**p, "twice the smaller side": min(1.0, 2 * min(p["increase"], p["decrease"]))}, drawn


DRAWN = 200_000


def margin(p: float, sampled: bool) -> float:  # noqa: FBT001 - one of two numbers
    """How far p may be off: rounding, or five standard errors of the draws here."""
    return 5 * math.sqrt(max(p * (1 - p), 1 / DRAWN) / DRAWN) if sampled else ABSOLUTE


def mean(values: np.ndarray) -> float:
    """Mean of the days with a value, NaN without any."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan


def phase_lengths(schedule: Mapping[str, Any]) -> np.ndarray | None:
    """Every split of the days into phases within their bounds; None where there are too many to list."""
    bounds = [range(low, high + 1) for low, high in zip(schedule["shortest"], schedule["longest"], strict=True)]
    if math.prod(len(choice) for choice in bounds[:-1]) > MOST_ASSIGNMENTS:
        return None
    rows = []
    for first in product(*bounds[:-1]):
        last = schedule["total"] - sum(first)
        if last in bounds[-1]:
            rows.append((*first, last))
    return np.array(rows)


def day_orders(schedule: Mapping[str, Any]) -> np.ndarray | None:
    """Every order of treatment and baseline days that the scheme admits; None where there are too many to list."""
    orders: list[tuple[int, ...]] = [()]
    for _ in range(schedule["days"]):
        orders = [(*order, day) for order in orders for day in (0, 1) if admitted((*order, day), schedule)]
        if len(orders) > MOST_ASSIGNMENTS // 10:
            return None
    return np.array(orders)


def admitted(order: tuple[int, ...], schedule: Mapping[str, Any]) -> bool:
    """Whether an order of the first days can be gone on with."""
    block, run = schedule["block"], schedule["longest_run"]
    if len(order) > run and len(set(order[-run - 1 :])) == 1:
        return False
    inside = order[(len(order) - 1) // block * block :]
    left = block - len(inside)
    return bool(sum(inside) <= schedule["treated_days"] <= sum(inside) + left)


def verify(folder: Path) -> tuple[str, Report]:
    """Verify the crate in a folder; the hash of its record and what was found."""
    report, text = Report(), (folder / RECORD).read_bytes()
    record = json.loads(text)
    same = bool(canonical(record) == text)
    report.add("ok" if same else "FAULT", f"record.json is {'' if same else 'not '}in the form whose hash is recorded")
    check_files(folder, record, report)
    modules_right = check_modules(folder, record, report)
    check_results(folder, record, report)
    days_right = (folder / DAYS).is_file() and sha256((folder / DAYS).read_bytes()) == record["artifacts"].get(
        DAYS, {}
    ).get("sha256")
    if days_right and modules_right:
        check_by_modules(folder, record, report)
    elif not (folder / DAYS).is_file():
        report.add("unknown", "the results cannot be computed again: the days are not in this crate")
    if days_right:
        check_independently(folder, record, report)
    report.add("unknown", "whether the days are the source's: the source is not here, only the snapshot's hash is")
    if (folder / STAMP).is_file():
        command = f"openssl ts -verify -data {RECORD} -in {STAMP} -CAfile the authority's certificate"
        report.add("unknown", f"whether the time stamp is genuine: {command}")
    report.add("unknown", "when this was made, and whether an earlier analysis was left out: see the record's chain")
    report.add("unknown", "whether this is the published record: compare its hash with the one that was published")
    return sha256(text), report


def main() -> int:
    """Verify the crate beside this file, or in the folder that is named; 1 if anything is not as recorded."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--json"]
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    record_sha256, report = verify(folder)
    if "--json" in sys.argv:
        document = {"record": record_sha256, "findings": report.lines, "verified": not report.faults}
        sys.stdout.write(json.dumps(document) + "\n")
    else:
        record = json.loads((folder / RECORD).read_bytes())
        sys.stdout.write(f"record {record_sha256}\n{record['sentence']}\n")
        for status, words in report.lines:
            sys.stdout.write(f"{status:8} {words}\n")
        sys.stdout.write("not verified\n" if report.faults else "verified, except for what is unknown\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
