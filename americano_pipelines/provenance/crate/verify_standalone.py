"""Verify a crate: python verify.py [FOLDER]. It needs Python and numpy, and nothing of the project that wrote it."""

# One file, so that it can be read and moved alone. The record is the root: its hash names it in the project's archive,
# in MLflow and in the app. All other files are compared with the record, and results and verdict are derived again. The
# modules in the crate are run, in a process of their own; look at them first if you do not trust their author.

import sys

if __name__ == "__main__":
    # Else a file of the crate called numpy.py or json.py would be imported in place of the real one.
    if not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
        sys.path.pop(0)
    sys.dont_write_bytecode = True

import hashlib
import json
import math
import re
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from fractions import Fraction
from itertools import pairwise, permutations, product
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

RECORD, DAYS, RESULTS, MODULES = "record.json", "days.json", "results.json", "modules/americano_pipelines/"
METADATA, GUIDE, STAMP, VERIFIER, LISTING = (
    "ro-crate-metadata.json",
    "README.md",
    "record.tsr",
    "verify.py",
    "SHA256SUMS",
)
# What the record cannot hold the hash of, for it is written after it.
WRITTEN_AFTER = (METADATA, GUIDE, STAMP, VERIFIER, LISTING)
DEFAULT_LEVEL = 0.05
ABAB = "abab_randomization"
COMBINED, MIN_COMBINED = "combined", 2
TESTS = frozenset({ABAB, "multiple_baseline"})
RELATIVE, ABSOLUTE = 1e-9, 1e-9
MAX_ASSIGNMENTS, DRAWN = 5_000_000, 200_000
MAX_BYTES, MAX_FILES = 1 << 30, 10_000
MODULE_SECONDS = 1800
BASELINES = {"BASELINE": "BASELINE", "WITHDRAWAL": "BASELINE"}
EVENTS_ASSET = "analytics/behavioral_events"

Files = Mapping[str, bytes]


def sha256(content: bytes) -> str:
    """Hash bytes."""
    return hashlib.sha256(content).hexdigest()


def canonical(value: Any) -> bytes:  # noqa: ANN401 - JSON
    """The form of a JSON value whose hash is recorded."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def plain(text: object) -> str:
    """A text of the crate as one line, so that it cannot print lines of its own."""
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in str(text))


class Report:
    """What was found: ok, FAULT, or unknown; each with words.

    Attributes:
        lines: status and words.
        unrepeated: what is unknown unless the whole analysis is done again.
        repeated: whether that was done, and gave what is recorded.
    """

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.unrepeated: list[str] = []
        self.repeated = False

    def add(self, status: str, words: str) -> None:
        """Note a finding."""
        self.lines.append((status, plain(words)))

    def leave_open(self, words: str) -> None:
        """Note what stays unknown unless the whole analysis is done again."""
        self.unrepeated.append(words)

    def close(self) -> None:
        """Add what stayed open."""
        for words in [] if self.repeated else self.unrepeated:
            self.add("unknown", words)

    def compare(self, same: bool, right: str, wrong: str) -> bool:  # noqa: FBT001 - what was compared
        """Note whether something is as it should be."""
        self.add("ok" if same else "FAULT", right if same else wrong)
        return same

    def check(self, what: str, check: Callable[..., None], *arguments: Any) -> None:  # noqa: ANN401 - of any check
        """Do a check; what has not the form of a crate is a fault, and no error of this program."""
        try:
            check(*arguments, self)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            self.add("FAULT", f"{what} could not be compared: {type(error).__name__}: {error}")

    @property
    def faults(self) -> int:
        """How many faults there are."""
        return sum(status == "FAULT" for status, _ in self.lines)


# Files


def read_files(folder: Path, report: Report) -> dict[str, bytes]:
    """Read every file once; all checks are of these bytes. Links and special files are faults, and not read."""
    files: dict[str, bytes] = {}
    left, entries = MAX_BYTES, 0
    for path in sorted(folder.rglob("*")):
        name, kind = path.relative_to(folder).as_posix(), path.lstat()
        entries, left = entries + 1, left - kind.st_size
        if left < 0 or entries > MAX_FILES:
            report.add("FAULT", f"the rest is not read: a crate has at most {MAX_FILES} files and {MAX_BYTES} bytes")
            break
        if stat.S_ISREG(kind.st_mode):
            files[name] = path.read_bytes()
        elif not stat.S_ISDIR(kind.st_mode):
            report.add("FAULT", f"{name} is no file but a link or the like: it is not read")
    return files


def listing(files: Files) -> str:
    """All files with their hashes, as sha256sum writes them; the hash of this text is that of the crate's contents."""
    return "".join(f"{sha256(content)}  {name}\n" for name, content in sorted(files.items()) if name != LISTING)


def check_listing(files: Files, report: Report) -> None:
    """Compare every file with the list of files."""
    actual = listing(files)
    if LISTING not in files:
        report.add("unknown", f"there is no {LISTING}: files may have been added or left out. Older crates have none")
        return
    listed = files[LISTING].decode()
    odd = sorted({line[66:] for line in set(listed.split("\n")) ^ set(actual.split("\n"))})
    report.compare(
        listed == actual,
        f"{actual.count(chr(10))} files are those that {LISTING} lists",
        f"changed, added or missing since {LISTING} was written: {', '.join(odd) or 'its form'}",
    )


def check_files(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Compare every file with the record, and name those that the record does not cover."""
    artifacts = record["artifacts"]
    good = [name for name in sorted(artifacts) if name in files and sha256(files[name]) == artifacts[name]["sha256"]]
    withheld = [name for name in sorted(artifacts) if name not in files]
    report.add("ok", f"{len(good)} files have the recorded hashes")
    for name in sorted(files):
        if name in artifacts and name not in good:
            report.add("FAULT", f"{name} is not the recorded file")
        elif name not in artifacts and name not in {RECORD, *WRITTEN_AFTER} and not is_module(name):
            report.add("FAULT", f"{name} is no part of the record")
    if withheld:
        report.add("unknown", f"not in this crate, only their hashes are recorded: {', '.join(withheld)}")
    uncovered = ", ".join(name for name in WRITTEN_AFTER if name in files)
    report.add("unknown", f"whether these are as they were published, for the record does not cover them: {uncovered}")


def is_module(name: str) -> bool:
    """Whether a file is a module; bytecode and libraries are none, and are never run."""
    return name.startswith(MODULES) and name.endswith((".py", ".sql")) and "__pycache__" not in name


def check_metadata(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Compare what ro-crate-metadata.json and README.md say with the files and the record."""
    if METADATA not in files:
        report.add("FAULT", f"{METADATA} is missing")
    else:
        entities = {str(item["@id"]): item for item in json.loads(files[METADATA])["@graph"]}
        listed = {name: item for name, item in entities.items() if "File" in item.get("@type", ())}
        if missing := sorted(listed.keys() - files.keys()):
            report.add("FAULT", f"listed in {METADATA} and not there: {', '.join(missing)}")
        wrong = [
            name
            for name, item in listed.items()
            if name in files and item.get("identifier", "") not in {"", f"urn:sha256:{sha256(files[name])}"}
        ]
        said = {item.get("name"): item.get("value") for item in entities.values() if item["@type"] == "PropertyValue"}
        hash_, verdict = sha256(files[RECORD]), record["verdict"] or "none"
        for name, value in (
            ("record sha256", hash_),
            ("verdict", verdict),
            ("extract sha256", record["extract_sha256"]),
        ):
            wrong += [] if said.get(name) == value else [name]
        wrong += [] if str(entities["./"]["description"]).startswith(record["sentence"]) else ["description"]
        words = f"{METADATA} gives the record's hash, sentence and verdict, and the hashes of {len(listed)} files"
        report.compare(not wrong, words, f"{METADATA} has another {', '.join(wrong)}")
    if GUIDE not in files:
        report.add("FAULT", f"{GUIDE} is missing")
        return
    guide = files[GUIDE].decode()
    said_so = f"\n{record['sentence']}" in guide and f"Record {sha256(files[RECORD])}." in guide
    report.compare(said_so, f"{GUIDE} has the record's sentence and hash", f"{GUIDE} has another sentence or hash")


def check_modules(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Hash the modules as a whole."""
    recorded = record.get("module_bundle_sha256")
    if recorded is None:
        report.add("unknown", "the modules that the analysis ran with were not kept")
        return
    texts = modules_of(files)
    words = f"{len(texts)} modules are those that the analysis ran with"
    report.compare(sha256(canonical(texts)) == recorded, words, "the modules are not those that the analysis ran with")
    report.add("unknown", f"whether these modules are the project's: compare their hash, {recorded}")


def modules_of(files: Files) -> dict[str, str]:
    """Path in the package to text."""
    return {name.removeprefix(MODULES): content.decode() for name, content in files.items() if is_module(name)}


# Results, computed by the recorded modules

CHILD = """
import json, sys
folder, request, reply = sys.argv[1:]
sys.path.insert(0, folder)
document = json.load(open(request, encoding="utf-8"))
whole, parts, missing = None, None, []
if document["request"] is not None:
    try:
        from americano_pipelines.analysis.repeat import Request, repeat
        whole = repeat(Request(**document["request"])).model_dump()
    except ImportError as error:
        missing.append(f"the analysis cannot be done again as a whole here: {error}")
if whole is None:
    try:
        from americano_pipelines.statistics.recompute import recompute
    except ImportError as error:
        missing.append(f"they cannot be run here: {error}")
    else:
        parts, more = recompute(document["analysis"], document["days"])
        missing += more
json.dump({"whole": whole, "parts": parts, "missing": missing}, open(reply, "w", encoding="utf-8"))
"""
# What events give and days do not show; and the number of differences that are shown.
OF_EVENTS = re.compile(r"(phases\0.*\0(events|mean of events|sd of events)|counts\0(.*\0)?.*events.*)$")
MAX_DIFFERENCES = 20


def check_by_modules(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Do the analysis again from the days, by the modules: as a whole, or what numpy alone can compute."""
    results, days = record["results"], json.loads(files[DAYS])
    effects = results.get("effects") or {}
    if "pairs" in effects and compares_phases(days, effects["pairs"]):
        days["improvement"] = effects["improvement"]
    request = {"analysis": record["identity"]["analysis"], "days": days, "request": request_of(record, days)}
    reply = run_modules(modules_of(files), request)
    for words in reply["missing"]:
        report.add("unknown", f"by the modules: {words}")
    whole, parts = reply["whole"], reply["parts"]
    if whole is not None and whole["error"] is not None:
        report.add("FAULT", f"by the modules: the analysis cannot be done again: {whole['error']}")
    elif whole is not None:
        again = {**whole["results"], "sentence of the record": whole["sentence"]}
        recorded = {**results, "sentence of the record": record["sentence"]}
        again["verdict of the record"], recorded["verdict of the record"] = whole["verdict"], record["verdict"]
        words = "the analysis done again as a whole gives the sentence, the verdict and the {} recorded values"
        report.repeated = compare_leaves(recorded, again, f"by the modules: {words}", report)
        report.add("unknown", "numbers of events: the days do not show them")
    elif parts is not None:
        was = {name: part for name, part in results.items() if name in parts}
        words = f"{{}} values computed again from the days are the recorded ({', '.join(parts)})"
        compare_leaves(was, parts, f"by the modules: {words}", report, partly=True)
        if left := sorted(results.keys() - parts.keys()):
            words = f"not computed again by the modules: {', '.join(left)}"
            report.add("unknown", f"{words}; `americano verify FILE.zip` does the whole analysis again")


def request_of(record: Mapping[str, Any], days: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the modules are asked to do again; None where the days hold no plan, or a posterior would be sampled."""
    if "extract" not in days or "posterior" in record["results"]:
        return None
    inputs, standing = record["inputs"], record["standing"] or {}
    events = next((source for source in inputs if source["asset"] == EVENTS_ASSET), inputs[0])
    instant = datetime.fromisoformat(events["instant"])
    label = "planned" if standing.get("planned") else "declared" if standing.get("declared") else "exploratory"
    return {
        "analysis": record["identity"]["analysis"],
        "config": record["config"],
        "extract": canonical(days["extract"]).decode(),
        "snapshot_id": events["snapshot_id"],
        "as_of_us": round(instant.timestamp() * 1_000_000),
        "compliance": label if standing else None,
    }


def compare_leaves(
    recorded: Mapping[str, Any], again: Mapping[str, Any], words: str, report: Report, *, partly: bool = False
) -> bool:
    """Compare every plain value inside; whether all are the same.

    Where only a part was computed, what is recorded beside it does not count.
    """
    recorded_values, computed_values = (
        {path: value for path, value in leaves("", document) if not OF_EVENTS.match(path)}
        for document in (recorded, again)
    )
    paths = [path for path in (computed_values if partly else {**recorded_values, **computed_values})
             if not {path} <= recorded_values.keys() & computed_values.keys()
             or not close(recorded_values[path], computed_values[path])]  # fmt: skip
    for path in paths[:MAX_DIFFERENCES]:
        before, after = (
            repr(values[path]) if path in values else "nothing" for values in (recorded_values, computed_values)
        )
        report.add("FAULT", f"by the modules: {path.replace(chr(0), ' / ')}: recorded {before}, computed {after}")
    if len(paths) > MAX_DIFFERENCES:
        report.add("FAULT", f"by the modules: {len(paths) - MAX_DIFFERENCES} more values are not as recorded")
    if not paths:
        report.add("ok", words.format(len(computed_values)))
    return not paths


def check_plan(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Compare the plan and the phases beside the days with their hashes in the record."""
    extract = json.loads(files[DAYS]).get("extract")
    if extract is None:
        report.add("unknown", "whether the plan and the phases are as recorded: older crates do not hold them")
        return
    if members := extract.get("protocols"):
        plan, phases = [member["protocol"] for member in members], [member["phases"] for member in members]
    else:
        plan, phases = extract["protocol"], extract["phases"]
    same = (sha256(canonical(plan)), sha256(canonical(phases))) == (record["protocol_sha256"], record["phases_sha256"])
    report.compare(
        same, "the plan and the phases have the recorded hashes", "the plan or the phases are not as recorded"
    )


def run_modules(modules: Mapping[str, str], request: Mapping[str, Any]) -> dict[str, Any]:
    """Run the modules in a process of their own, so that they cannot speak for this program.

    They run from a folder that has nothing but the bytes that were hashed.

    Returns:
        The reply of the `whole` analysis, or the `parts` that could be computed; and what is `missing`, and why.

    Raises:
        ValueError: they do not come to their end.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, question, reply = (Path(name) / part for part in ("modules", "request", "reply"))
        for path, text in modules.items():
            target = folder / "americano_pipelines" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())
        question.write_text(json.dumps(request), encoding="utf-8")
        try:
            done = subprocess.run(  # noqa: S603 - fixed arguments
                [sys.executable, "-B", "-c", CHILD, str(folder), str(question), str(reply)],
                cwd=name,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=MODULE_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"they did not end within {MODULE_SECONDS} s") from None
        if not reply.is_file():
            raise ValueError((done.stderr.strip() or "they ended without a result").splitlines()[-1])
        answer: dict[str, Any] = json.loads(reply.read_bytes())
        return answer


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - JSON
    """Every plain value inside, by its path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        yield path, value
    else:
        for name, item in items:
            yield from leaves(f"{path}\0{name}" if path else str(name), item)


def is_number(value: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether a value is a number, to which true and false do not belong."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def close(was: Any, again: Any) -> bool:  # noqa: ANN401 - JSON
    """Whether two values are the same but for rounding."""
    if is_number(was) and is_number(again):
        return math.isclose(was, again, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    return type(was) is type(again) and bool(was == again)


# The randomization test, without the modules


def check_test(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Do the randomization tests again by plain numpy: the protocol's own, and those of further contrasts."""
    days, results = json.loads(files[DAYS]), record["results"]
    repeat_test(days, record, days["test"], results.get("test") or {}, report)
    contrasts, others = results.get("contrasts") or [], days.get("contrasts") or []
    check_sides(days, results, report)
    if not contrasts and not others:
        return
    names, declared = [row["contrast"] for row in contrasts], (record["config"].get("contrasts") or "").split(", ")
    report.compare(names == declared, "the contrasts are those that the parameters declare",
                   f"the contrasts are {', '.join(names)}, the parameters declare {', '.join(declared)}")  # fmt: skip
    for row, test in zip(contrasts[1:], others, strict=True):
        repeat_test(days, record, test, row["test"], report)
    p_values = [contrasts[0]["p"], *(row["test"].get("p") for row in contrasts[1:])]
    first_p = (results.get("test") or {}).get("p")
    corrected = holm([1.0 if p is None else p for p in p_values])
    again = [None if p is None else own for p, own in zip(p_values, corrected, strict=True)]
    same = all(map(same_number, [row["p by Holm"] for row in contrasts], again)) and same_number(first_p, p_values[0])
    same = same and all(map(same_number, [row["p"] for row in contrasts], p_values))
    report.compare(same, "p by Holm of each contrast comes out again", f"p by Holm is {again}, recorded is another")


def check_sides(days: Mapping[str, Any], results: Mapping[str, Any], report: Report) -> None:
    """Compare what each test takes for its conditions and for the lengths of phases with the phases that are shown."""
    if "cases" in days:
        check_starts(days, report)
        return
    sides = [BASELINES.get(row["type"], row["type"]) for row in results["phases"]]
    treatment = [kind == "treatment" for kind in days["conditions"]]
    shown = np.array(days["phase"])
    contrasts = [row["contrast"].split("-") for row in results.get("contrasts") or []]
    for test, pair in zip([days["test"], *days.get("contrasts", [])], contrasts or [None], strict=True):
        if test is None:
            continue
        schedule, first, both = test["schedule"], treatment, [True] * len(sides)
        if pair is not None:
            first, both = [side == pair[0] for side in sides], [side in pair for side in sides]
        if schedule["kind"] == "Alternation":
            days_of_first = np.array([*first, False])[shown]  # a day of no phase has -1, the last
            held = np.array(schedule.get("held") or [False] * schedule["days"])
            right = np.array_equal(np.array(test["observed"]) == 1, days_of_first & ~held)
        else:
            compared = schedule.get("compared") or [True] * len(sides)
            right = schedule["treated"] == first and compared == both
            lengths = [int((shown == place).sum()) for place in range(len(sides))]
            if test["observed"] != lengths:
                words = f"phases of {test['observed']} days were tested, and the days show {lengths}"
                report.leave_open(f"whether phases had the lengths that were drawn: {words}")
        where = "" if pair is None else f" of {' against '.join(pair)}"
        report.compare(right, f"the test{where} takes the shown phases for its conditions",
                       f"the test{where} takes other phases for its conditions than those shown")  # fmt: skip


def check_starts(days: Mapping[str, Any], report: Report) -> None:
    """Compare the first day of treatment that was tested with the first that each case shows."""
    starts = []
    for case in days["cases"]:
        treated = [place for place, kind in enumerate(case["conditions"]) if kind == "treatment"]
        starts.append(int(np.isin(case["phase"], treated).argmax()))
    if days["test"] is None:
        return
    # A day within which treatment begins belongs to no phase.
    tested = [start + cut for start, cut in zip(days["test"]["starts"], days["test"]["cut"], strict=True)]
    if tested != starts:
        words = f"treatment was tested from days {tested} on, and the days show {starts}"
        report.leave_open(f"whether treatment began on the days that were drawn: {words}")


def holm(p_values: Sequence[float]) -> list[float]:
    """P values corrected for their number: times how many are not smaller, and never below one before."""
    times = {p: min(1.0, p * sum(other >= p for other in p_values)) for p in p_values}
    return [max(times[p] for p in p_values if p <= own) for own in p_values]


def repeat_test(
    days: Mapping[str, Any],
    record: Mapping[str, Any],
    test: Mapping[str, Any] | None,
    recorded: Mapping[str, Any],
    report: Report,
) -> None:
    """Do one randomization test again."""
    p: Any = recorded.get("p")
    if test is None and p is None:
        report.add("ok", "by numpy alone: nothing was tested, and no p is recorded")
        return
    if test is None or not is_number(p) or not is_number(recorded.get("observed")):
        report.add("FAULT", "by numpy alone: p could not be compared: the days or the record lack the test")
        return
    joint = "cases" in days
    shown = days["cases"] if joint else [days]
    every = test["values"] if joint else [test["values"]]
    same_days = len(shown) == len(every) and all(map(are_shown, every, shown))
    schedule = {name: value for name, value in test["schedule"].items() if name != "kind"}
    shown_schedule = {name: value for name, value in recorded["schedule"].items() if name != "assignments"}
    if not report.compare(
        same_days and schedule == shown_schedule and days["parameters"] == record["config"],
        "the tested days, schedule and parameters are those of the days and the record",
        f"the tested days, the schedule or the parameters in {DAYS} are not those of the days and the record",
    ):
        return
    check_counts(recorded, days["parameters"], report)
    statistic = days["parameters"].get("statistic", "mean")
    seed = recorded.get("seed")
    counted = count_joint_starts(test, seed) if joint else count_assignments(test, seed, statistic)
    if counted is None:
        report.leave_open("by numpy alone: there are too many assignments to look at one by one, so p is unknown")
        return
    observed, candidates, sampled = counted
    if not close(recorded["observed"], observed):
        words = f"the difference is {observed!r}, recorded is {recorded['observed']!r}"
        report.add("FAULT", f"by numpy alone: {words}")
    follows = test["schedule"].get("kind") == "CriterionSchedule"  # a multiple baseline names no kind
    direction = "decrease" if follows else days["parameters"]["direction"]
    names = ("twice the smaller side", "absolute value") if direction == "either" else (direction,)
    possible = {name: candidates[name] for name in names}
    right = [name for name, again in possible.items() if abs(again - p) <= margin(again, sampled, recorded["draws"])]
    shown_p = f"p = {p:.6g} ({right[0] if right else ''}) and the difference of {observed:.6g} come out again"
    report.compare(bool(right), f"by numpy alone: {shown_p}", f"by numpy alone: p is {possible}, recorded is {p!r}")


def are_shown(values: Sequence[float | None], days: Mapping[str, Any]) -> bool:
    """Whether the days that were tested have the values of the days that are shown."""
    tested, shown = as_array(values), as_array(days["values"])
    common = min(tested.size, shown.size)
    both = ~np.isnan(shown[:common])
    return np.array_equal(tested[:common][both], shown[:common][both]) and not (~np.isnan(shown[common:])).any()


def check_counts(test: Mapping[str, Any], parameters: Mapping[str, Any], report: Report) -> None:
    """Compare p with the counts that it was made from, and its interval with that of Clopper and Pearson."""
    draws, sides = test["draws"], 2 if test.get("two_sided") == "doubled" else 1
    looked_at = test["assignments"] if draws is None else draws
    added = 0 if draws is None and test["admissible"] else 1
    again = min(1.0, sides * (test["as_extreme"] + added) / (looked_at + added))
    interval = [min(1.0, sides * bound) for bound in clopper_pearson(test["as_extreme"], draws)] if draws else None
    same_interval = (test["p_interval"] is None) == (interval is None) and all(
        math.isclose(was, bound, abs_tol=1e-7)
        for was, bound in zip(test["p_interval"] or (), interval or (), strict=True)
    )
    report.compare(
        close(test["p"], again) and same_interval and draws in {None, parameters["draws"]},
        "p and its interval are those of the recorded counts",
        f"p, its interval or the draws are not those of the recorded counts: they give {again!r} and {interval}",
    )


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """99 % interval of a proportion, by bisection of the binomial distribution."""
    logs = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, trials + 1)))))
    ways = logs[-1] - logs - logs[::-1]
    number = np.arange(trials + 1)

    def tail(p: float, part: slice) -> float:
        return float(np.exp(ways[part] + number[part] * math.log(p) + (trials - number[part]) * math.log1p(-p)).sum())

    def bound(part: slice, *, rising: bool) -> float:
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            low, high = (middle, high) if (tail(middle, part) < 0.005) is rising else (low, middle)  # noqa: PLR2004
        return (low + high) / 2

    return (
        0.0 if successes == 0 else bound(slice(successes, None), rising=True),
        1.0 if successes == trials else bound(slice(0, successes + 1), rising=False),
    )


def as_array(values: Sequence[float | None]) -> np.ndarray:
    """Numbers of a JSON list, NaN for null."""
    return np.array([np.nan if value is None else value for value in values], dtype=float)


def count_assignments(
    test: Mapping[str, Any], seed: int | None, statistic: str
) -> tuple[float, dict[str, float], bool] | None:
    """The observed difference, p by each way to count, and whether it was estimated.

    It shares nothing with the recorded modules and is short enough to be checked by reading.
    """
    values = as_array(test["values"])
    schedule, observed = test["schedule"], np.array(test["observed"])
    if schedule["kind"] == "CriterionSchedule":
        lengths = phase_lengths(schedule)
        begins = [int(cut) for cut in schedule["cut"] or [False] * len(schedule["treated"])]

        def difference(row: np.ndarray) -> float:
            ends = np.cumsum(row)
            phases = zip(ends - row + begins, ends, schedule["criteria"], strict=True)
            return mean(np.concatenate([np.abs(values[a:b] - goal) for a, b, goal in phases if goal is not None]))
    elif schedule["kind"] == "PhaseSchedule":
        lengths = phase_lengths(schedule)
        treated, cut = np.array(schedule["treated"]), np.array(schedule["cut"] or [False] * len(schedule["treated"]))

        compared = np.array(schedule.get("compared") or [True] * len(treated))

        def difference(row: np.ndarray) -> float:
            ends = np.cumsum(row)
            phases = [values[a + c : b] for a, b, c in zip(ends - row, ends, cut, strict=True)]
            return compare_phases(statistic, phases, treated, compared)
    else:
        lengths = day_orders(schedule)
        free = ~np.array(schedule.get("held") or [False] * schedule["days"])

        def difference(row: np.ndarray) -> float:
            sides = [values[(row == 0) & free], values[row == 1]]
            return compare_phases(statistic, sides, np.array([False, True]), np.array([True, True]))

    if lengths is None:
        return None
    rng, drawn = np.random.default_rng(seed), len(lengths) > DRAWN
    rows = lengths[rng.integers(len(lengths), size=DRAWN)] if drawn else lengths
    observed_difference, differences = difference(observed), np.array([difference(row) for row in rows])
    observed_added = 1 if drawn or not (lengths == observed).all(axis=1).any() else 0
    ties = 1e-9 if statistic == "nap" else 1e-9 * spread(values)
    p = shares_of(observed_difference, differences, ties, observed_added)
    return observed_difference, p, drawn


def count_joint_starts(test: Mapping[str, Any], seed: int | None) -> tuple[float, dict[str, float], bool] | None:
    """The same for a multiple baseline, whose cases each start treatment on a day."""
    cases, schedule = [as_array(values) for values in test["values"]], test["schedule"]
    starts, drawn = joint_starts(schedule, np.random.default_rng(seed))
    if starts is None:
        return None
    observed = np.array(test["starts"])
    tables = [
        np.array([mean(days[start + cut :]) - mean(days[:start]) if start else math.nan for start in range(days.size)])
        for days, cut in zip(cases, test["cut"], strict=True)
    ]
    differences = np.mean([table[starts[:, case]] for case, table in enumerate(tables)], axis=0)
    observed_difference = float(np.mean([table[start] for table, start in zip(tables, observed, strict=True)]))
    observed_added = 1 if drawn or not (starts == observed).all(axis=1).any() else 0
    ties = 1e-9 * max(spread(days) for days in cases)
    return observed_difference, shares_of(observed_difference, differences, ties, observed_added), drawn


def joint_starts(schedule: Mapping[str, Any], rng: np.random.Generator) -> tuple[np.ndarray | None, bool]:
    """Every joint start, or draws where there are too many, None where they are too rare to draw; and whether drawn."""
    windows, number = schedule["windows"], len(schedule["windows"])
    orders = list(permutations(range(number))) if schedule["permuted"] and math.factorial(number) <= DRAWN else []
    inside = math.prod(last - first + 1 for first, last in windows)
    drawn = inside * max(1, len(orders)) > MAX_ASSIGNMENTS or (schedule["permuted"] and not orders)
    if drawn:
        rows = np.stack([rng.integers(first, last + 1, size=MAX_ASSIGNMENTS) for first, last in windows], axis=1)
        rows = rng.permuted(rows[:DRAWN], axis=1) if schedule["permuted"] else rows
    else:
        grid = np.meshgrid(*(np.arange(first, last + 1) for first, last in windows), indexing="ij")
        rows = np.stack(grid, axis=-1).reshape(-1, number)
        rows = np.concatenate([rows[:, order] for order in orders]) if orders else rows
    apart = np.diff(np.sort(rows, axis=1), axis=1).min(axis=1, initial=1 << 30) >= schedule["distance"]
    rows = rows[apart]
    if drawn:
        return (rows[:DRAWN] if len(rows) >= DRAWN else None), True
    return rows, False


def spread(values: np.ndarray) -> float:
    """The largest distance of a day from the mean."""
    return float(np.nanmax(np.abs(values - np.nanmean(values))))


def shares_of(
    observed_difference: float, differences: np.ndarray, ties: float, observed_added: int
) -> dict[str, float]:
    """P by each way to count."""
    empty = np.isnan(differences)
    share = {
        "increase": (empty | (differences >= observed_difference - ties)).sum(),
        "decrease": (empty | (differences <= observed_difference + ties)).sum(),
        "absolute value": (empty | (np.abs(differences) >= abs(observed_difference) - ties)).sum(),
    }
    size = len(differences) + observed_added
    p = {name: float((count + observed_added) / size) for name, count in share.items()}
    return {**p, "twice the smaller side": min(1.0, 2 * min(p["increase"], p["decrease"]))}


def margin(p: float, sampled: bool, draws: int | None) -> float:  # noqa: FBT001 - one of two numbers
    """How far p may be off: rounding, or five standard errors of the draws here and of those recorded."""
    drawn = ([DRAWN] if sampled else []) + ([draws] if draws else [])
    return ABSOLUTE + 5 * math.sqrt(sum(max(p * (1 - p), 1 / number) / number for number in drawn))


def compare_phases(statistic: str, phases: list[np.ndarray], treated: np.ndarray, compared: np.ndarray) -> float:
    """The statistic: phases of one condition against those of the other, NaN where one of them has no value."""
    if statistic == "nap":
        sides = [[phase[~np.isnan(phase)] for phase, use in zip(phases, compared & side, strict=True) if use]
                 for side in (treated, ~treated)]  # fmt: skip
        if not all(phase.size for side in sides for phase in side):
            return math.nan
        high, low = (np.concatenate(side) for side in sides)
        return float(np.sign(high[:, None] - low).mean() / 2)
    if statistic == "immediacy":
        differences = [
            (1 if treated[place] else -1) * (mean(phases[place][:3]) - mean(phases[place - 1][-3:]))
            for place in range(1, len(phases))
            if compared[place - 1] and compared[place] and treated[place - 1] != treated[place]
        ]
        return float(np.mean(differences))
    level = {"mean": mean, "median": median, "slope": slope}[statistic]
    levels = np.array([level(phase) for phase in phases])
    return float(levels[compared & treated].mean() - levels[compared & ~treated].mean())


def median(values: np.ndarray) -> float:
    """Median of the days with a value, NaN without any."""
    present = values[~np.isnan(values)]
    return float(np.median(present)) if present.size else math.nan


def slope(values: np.ndarray) -> float:
    """Least squares slope over the days with a value, NaN with fewer than two."""
    days = np.flatnonzero(~np.isnan(values))
    if days.size < 2:  # noqa: PLR2004
        return math.nan
    centred = days - days.mean()
    return float((centred * values[days]).sum() / (centred**2).sum())


def mean(values: np.ndarray) -> float:
    """Mean of the days with a value, NaN without any."""
    present = values[~np.isnan(values)]
    return float(present.mean()) if present.size else math.nan


def phase_lengths(schedule: Mapping[str, Any]) -> np.ndarray | None:
    """Every split of the days into phases within their bounds; None where there are too many to list.

    Where a phase has to begin on a certain day, only those in which it does.
    """
    starts = schedule.get("starts") or [None] * len(schedule["treated"])
    bounds = [range(low, high + 1) for low, high in zip(schedule["shortest"], schedule["longest"], strict=True)]
    ends = [*starts[1:], schedule["total"]]
    # A phase whose first day and end are fixed has one length.
    bounds = [choice if None in {start, end} else range(end - start, end - start + (end - start in choice))
              for choice, start, end in zip(bounds, [0, *starts[1:]], ends, strict=True)]  # fmt: skip
    if math.prod(len(choice) for choice in bounds[:-1]) > MAX_ASSIGNMENTS:
        return None
    rows = []
    for first in product(*bounds[:-1]):
        last = schedule["total"] - sum(first)
        begins = [sum(first[:place]) for place in range(len(starts))]
        if last in bounds[-1] and all(start in {None, begin} for start, begin in zip(starts, begins, strict=True)):
            rows.append((*first, last))
    return np.array(rows)


def day_orders(schedule: Mapping[str, Any]) -> np.ndarray | None:
    """Every order of treatment and baseline days that the scheme admits; None where there are too many to list."""
    orders: list[tuple[int, ...]] = [()]
    for _ in range(schedule["days"]):
        orders = [(*order, day) for order in orders for day in (0, 1) if admitted((*order, day), schedule)]
        if len(orders) > MAX_ASSIGNMENTS // 10:
            return None
    return np.array(orders)


def admitted(order: tuple[int, ...], schedule: Mapping[str, Any]) -> bool:
    """Whether an order of the first days can be gone on with."""
    block, run, held = schedule["block"], schedule["longest_run"], schedule.get("held") or [False] * schedule["days"]
    if held[len(order) - 1]:
        return not order[-1]
    last = order[-run - 1 :]
    if len(order) > run and len(set(last)) == 1 and not any(held[len(order) - run - 1 : len(order)]):
        return False
    free = [day for day, stays in zip(order, held, strict=False) if not stays]
    inside = free[(len(free) - 1) // block * block :]
    left = block - len(inside)
    return bool(sum(inside) <= schedule["treated_days"] <= sum(inside) + left)


# Effects, verdict and sentence, without the modules


def check_effects(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Compare phases by plain numpy, of each case: differences of means and medians, NAP and PND."""
    days, effects = json.loads(files[DAYS]), record["results"]["effects"]
    joint = "cases" in days
    pairs = effects["cases"] if joint else effects["pairs"]
    sign = -1.0 if effects["improvement"] == "decrease" else 1.0
    again: list[tuple[str, str, bool, list[float | None]]] = []
    for case in days["cases"] if joint else [days]:
        of_phases = joint or compares_phases(case, pairs)
        groups = phase_groups(case) if of_phases else condition_groups(case, pairs)
        if not of_phases and not groups:
            report.leave_open("by numpy alone: effects of several treatments are not computed")
            return
        again += compare_neighbours(groups, sign)
    names = ("mean_difference", "median_difference", "nap", "pnd")
    wrong = [] if len(again) == len(pairs) else ["number of pairs"]
    for pair, (first, second, into, numbers) in zip(pairs, again, strict=False):
        where = " of ".join(filter(None, (f"{first} and {second}", pair.get("case"))))
        wrong += [] if (pair["first"], pair["second"], pair["into_treatment"]) == (first, second, into) else [where]
        wrong += [f"{name} of {where}" for name, number in zip(names, numbers, strict=True)
                  if not close((pair if name in pair else pair["overlap"] or {}).get(name), number)]  # fmt: skip
    for name, index in (("mean_difference", 0), ("median_difference", 1), ("overlap.nap", 2), ("overlap.pnd", 3)):
        if (was := effects["combined"].get(name)) is not None:
            parts = [numbers[index] for _, _, into, numbers in again if into or joint]
            present = [part for part in parts if part is not None]
            right = 0 < len(present) == len(parts) and close(was, float(np.mean(present)))
            wrong += [] if right else [f"combined {name}"]
    words = f"by numpy alone: differences, NAP and PND of {len(pairs)} pairs come out again"
    report.compare(not wrong, words, f"by numpy alone: not as recorded: {', '.join(wrong)}")
    report.leave_open("by numpy alone: standardised differences, ratios, errors and intervals are not computed")


def phase_groups(days: Mapping[str, Any]) -> list[tuple[str, str, np.ndarray]]:
    """Label, condition and values of each phase."""
    values, phase = as_array(days["values"]), np.array(days["phase"])
    return [(label, kind, values[(phase == index) & ~np.isnan(values)])
            for index, (label, kind) in enumerate(zip(days["labels"], days["conditions"], strict=True))]  # fmt: skip


def condition_groups(days: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str, np.ndarray]]:
    """Name, condition and values of both conditions of an alternation; none where it has several treatments."""
    if [pair["second"] for pair in pairs] != ["treatment days"]:
        return []
    phases = [phase for phase in phase_groups(days) if phase[0] not in days.get("held", [])]
    return [(label, kind, np.concatenate([np.empty(0), *(part for _, other, part in phases if other == kind)]))
            for label, kind in ((pairs[0]["first"], "baseline"), (pairs[0]["second"], "treatment"))]  # fmt: skip


def compare_neighbours(
    groups: Sequence[tuple[str, str, np.ndarray]], sign: float
) -> list[tuple[str, str, bool, list[float | None]]]:
    """Names of each two neighbours of different conditions, whether treatment is the second, and their differences."""
    again = []
    for (first, first_kind, earlier), (second, second_kind, later) in pairwise(groups):
        if first_kind != second_kind:
            into = second_kind == "treatment"
            baseline, treated = (earlier, later) if into else (later, earlier)
            again.append((first, second, into, differences(baseline, treated, sign)))
    return again


def check_criteria(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Measure the distance of the days of each phase from its criterion again."""
    days, rows, band = json.loads(files[DAYS]), record["results"].get("criteria") or [], record["config"].get("band")
    values, phase, wrong = as_array(days["values"]), np.array(days["phase"]), []
    for row in rows:
        if days["labels"].count(row["phase"]) != 1:
            report.leave_open(f"by numpy alone: which phase {row['phase']} is, for several have this name")
            return
        distances = np.abs(values[phase == days["labels"].index(row["phase"])] - row["criterion"])
        distances = distances[~np.isnan(distances)]
        again = {
            "days with a value": distances.size,
            "mean distance": float(distances.mean()) if distances.size else None,
            "band": band,
            "share within the band": float((distances <= band).mean()) if distances.size and band is not None else None,
        }
        wrong += [f"{name} of {row['phase']}" for name, value in again.items() if not same_number(row[name], value)]
    tested = (record["results"]["test"].get("schedule") or {}).get("criteria")
    stated = [row["criterion"] for row in rows]
    wrong += [] if tested is None or [goal for goal in tested if goal is not None] == stated else ["criteria"]
    test, missing = record["results"]["test"], record["results"]["missing days"]
    first, last = (mean(values[phase == place]) for place in (0, len(days["labels"]) - 1))
    moves = "increase" if last > first else "decrease" if last < first else None
    wrong += [] if test.get("outcome moves") == moves else ["outcome moves"]
    for side in ("treatment", "baseline"):
        of_side = np.isin(phase, [place for place, kind in enumerate(days["conditions"]) if kind == side])
        again = {f"{side}_days": int(of_side.sum()), f"{side}_missing": int((of_side & np.isnan(values)).sum())}
        wrong += [name for name, value in again.items() if missing[name] != value]
    words = f"by numpy alone: the distances of {len(rows)} phases from their criteria come out again"
    report.compare(not wrong, words, f"by numpy alone: not as recorded: {', '.join(wrong)}")


def compares_phases(days: Mapping[str, Any], pairs: Sequence[Mapping[str, Any]]) -> bool:
    """Whether pairs are of neighbouring phases, and not of all days of a condition."""
    return all(pair["first"] in days["labels"] for pair in pairs)


def differences(baseline: np.ndarray, treated: np.ndarray, sign: float) -> list[float | None]:
    """Differences of means and medians, NAP, PND; each None where a side has no day."""
    if not baseline.size or not treated.size:
        return [None] * 4
    before, after = sign * baseline, sign * treated
    wins = np.where(after > before[:, None], 1.0, np.where(after == before[:, None], 0.5, 0.0))
    difference = float(np.median(treated) - np.median(baseline))
    return [
        float(treated.mean() - baseline.mean()),
        difference,
        float(wins.mean()),
        float((after > before.max()).mean()),
    ]


def check_verdict(record: Mapping[str, Any], report: Report) -> None:
    """Derive the verdict from the numbers, and compare the sentence and the published numbers with them."""
    results, verdict = record["results"], record["results"]["verdict"]
    test, state, sentence = results.get("test") or {}, verdict["state"], verdict["sentence"]
    same = record["verdict"] == state and record["sentence"] == sentence
    report.compare(same, "verdict and sentence of the record are those of its results",
                   "verdict or sentence of the record are not those of its results")  # fmt: skip
    expected, why = derive_verdict(results, record["config"])
    if state == "no verdict" and expected != state:
        report.leave_open(f"why no verdict was given is not derived again: {verdict['why']}")
    else:
        report.compare(state == expected, f"the verdict follows from the numbers: {state}",
                       f"the verdict is {state}, and the numbers give {expected}: {why}")  # fmt: skip
    if state not in {"no verdict", "not shown"}:
        report.leave_open("whether the plan was over, and nothing else forbade a verdict: the protocol is not here")
    for row in (results.get("contrasts") or [])[1:]:
        own = row["test"]
        if row["p by Holm"] is not None:
            factor, interval = row["p by Holm"] / own["p"], own["p_interval"]
            corrected = None if interval is None else [factor * bound for bound in interval]
            own = {**own, "p": row["p by Holm"], "p_interval": corrected}
        follows, why = derive_verdict({**results, **row, "test": own}, record["config"])
        judged, name = row["verdict"]["state"], row["contrast"].replace("-", " against ")
        named = re.search(
            rf" {re.escape(f'{name}: {judged}')} \((?:difference (\S+), p (\S+), by Holm (\S+)\))?", sentence
        )
        # What forbids a verdict beside the numbers, such as a plan that is not over, forbids the first one too.
        if judged == "no verdict" != follows and state == "no verdict":
            report.leave_open(f"why no verdict was given on {name} is not derived again: {row['verdict']['why']}")
            follows = judged
        report.compare(judged == follows and named is not None,
                       f"the verdict of {name} follows from its numbers, and the sentence names it",
                       f"the verdict of {name} is {judged}, its numbers give {follows}: {why}")  # fmt: skip
        if named is not None and own.get("p") is not None:
            numbers = row["test"]["observed"], row["test"]["p"], row["p by Holm"]
            report.compare(all(map(names_number, named.groups(), numbers)),
                           f"the sentence gives the numbers of {name}",
                           f"the sentence gives other numbers of {name} than {numbers}")  # fmt: skip
    check_sentence(record, state, test, report)
    check_metrics(record, report)


def derive_verdict(results: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict that the numbers give, and why; what else forbids a verdict cannot be seen here."""
    test, level = results.get("test") or {}, float(config["alpha"]) * (1 + RELATIVE)
    if test.get("p") is None:
        return "no verdict", "nothing was tested"
    low, high = test["p_interval"] or (1.0, 0.0)
    obstacles = {
        "what was observed could not have been drawn": not test["admissible"] or test["kind"].startswith("not "),
        "the smallest possible p is above the level": test["smallest_p"] > level,
        "the interval of p holds the level": low <= level < high,
    }
    if why := first_that_holds(obstacles):
        return "no verdict", why
    if test["p"] > level:
        return "not shown", f"p is {test['p']!r}"
    return derive_direction(results, test, level, config.get("improvement"))


def derive_direction(
    results: Mapping[str, Any], test: Mapping[str, Any], level: float, parameter: str | None
) -> tuple[str, str]:
    """The verdict of a test that rejects, and why; `parameter` is the way that the parameters call better."""
    way = criteria_way(test) or ("increase" if test["observed"] > 0 else "decrease")
    favoured = way if "criteria lead to" in test else test["direction"] or way
    if test["direction"] is None and test.get("two_sided") == "doubled" and test["p_higher"] != test["p_lower"]:
        favoured = "increase" if test["p_higher"] < test["p_lower"] else "decrease"
    missing, called_better = results.get("missing days") or {}, results["effects"]["improvement"]
    better = results.get("declared improvement", {"better": called_better})["better"]
    obstacles = {
        "test and difference point opposite ways": favoured != way,
        "days are missing unequally": missing.get("shares differ")
        and (missing["worst_case_p"] is None or missing.get("worst_case_bound", missing["worst_case_p"]) > level),
        "the outcome does not move as criteria do": test.get("outcome moves", way) != way,
        "days are missing beside criteria": "outcome moves" in test
        and missing["treatment_missing"] + missing["baseline_missing"] > 0,
        "two ways are called better": better != called_better or (parameter is not None and better != parameter),
        "the criteria lead another way": test.get("criteria lead to", way) != way,
    }
    if why := first_that_holds(obstacles):
        return "no verdict", why
    if better is None:
        return f"differs, {'higher' if way == 'increase' else 'lower'} under treatment", "no way is called better"
    return "benefit" if better == way else "harm", f"better is an {better}, and the difference is an {way}"


def criteria_way(test: Mapping[str, Any]) -> str | None:
    """The way from the first criterion to the last, None where phases have none."""
    stated = [criterion for criterion in test["schedule"].get("criteria") or () if criterion is not None]
    return ("increase" if stated[-1] > stated[0] else "decrease") if stated else None


def check_combined(record: Mapping[str, Any], report: Report) -> None:
    """Combine the recorded p values and effects again, and derive the verdict."""
    results, rows = record["results"], record["results"]["experiments"]
    recorded, wrong = results["combined p"], []
    wrong += [] if results["method"] == record["config"]["method"] else ["method"]
    hashes = [row["record"] for row in rows]
    wrong += [
        f"record {name[:12]}, which counts {hashes.count(name)} times"
        for name in sorted(set(hashes))
        if hashes.count(name) > 1
    ]
    counting = {"planned", record["config"].get("include", "declared")}  # older records counted declared ones
    wrong += [f"{row['protocol']}, which is {row['standing']}" for row in rows if row["standing"] not in counting]
    for name, combine in (("edgington", edgington), ("stouffer", stouffer)):
        if len(rows) < MIN_COMBINED:
            wrong += [] if recorded[name] is None else [name]
            continue
        benefit, harm = (combine([row[side] for row in rows]) for side in ("p_benefit", "p_harm"))
        again = {"p": min(1.0, 2 * min(benefit, harm)), "p_benefit": benefit, "p_harm": harm}
        wrong += [f"{part} by {name}" for part, value in again.items() if not close(recorded[name][part], value)]
    mean, effects = results["random effects"], [row for row in rows if None not in (row["effect"], row["se"])]
    if (mean is None) != (len(effects) < MIN_COMBINED):
        wrong.append("random effects")
    elif mean is not None:
        wrong += compare_random_effects(mean, [row["effect"] for row in effects], [row["se"] for row in effects])
    words = f"by numpy alone: the p values and effects of {len(rows)} experiments give what is recorded"
    report.compare(not wrong, words, f"by numpy alone: not as recorded: {', '.join(wrong)}")
    chosen, level = recorded[results["method"]], float(record["config"]["alpha"]) * (1 + RELATIVE)
    expected = "no verdict"
    if chosen is not None:
        better = "benefit" if chosen["p_benefit"] < chosen["p_harm"] else "harm"
        expected = better if chosen["p"] <= level else "not shown"
        opposite = mean is not None and mean["mean"] * (1 if better == "benefit" else -1) < 0
        # Version 3 judged by p alone.
        if expected == better and opposite and int(record["identity"]["analysis_version"]) > 3:  # noqa: PLR2004
            expected = "no verdict"
    if len({name for row in rows for name in row.get("interventions", ())}) > 1:
        expected = "no verdict"
    verdict = results["verdict"]
    same = record["verdict"] == verdict["state"] == expected and record["sentence"] == verdict["sentence"]
    report.compare(same, f"the verdict follows from the numbers: {expected}", f"the numbers give {expected}")
    said = next((state for words, state in STATES.items() if record["sentence"].startswith(words)), None)
    report.compare(said == expected, "the sentence says the verdict", f"the sentence says {said}")
    p_values, effect = chosen or {}, mean or {}
    low, high = effect.get("interval", (None, None))
    numbers = {
        "p": p_values.get("p"), "p_benefit": p_values.get("p_benefit"), "experiments": len(rows),
        "observed": effect.get("mean"), "interval_low": low, "interval_high": high, "tau": effect.get("tau"),
    }  # fmt: skip
    if chosen is not None and expected != "no verdict":
        said_of = {
            **numbers, "protocols": len({row["protocol"] for row in [*rows, *results["left out"]]}),
            "method": results["method"].capitalize(),
            "level": None if record["config"]["alpha"] == DEFAULT_LEVEL else record["config"]["alpha"],
            "confidence": None if mean is None else 100 * mean["confidence"],
        }  # fmt: skip
        check_combined_sentence(record["sentence"], said_of, report)
    compare_metrics(record, numbers, report)
    listed = ", ".join(hashes) or "none"
    report.add("unknown", f"whether the combined records are as they were: {listed} are not here")


def compare_random_effects(mean: Mapping[str, Any], effects: list[float], errors: list[float]) -> list[str]:
    """What of a random effects model does not come out again from the effects and their errors."""
    values, variances, number = np.array(effects), np.array(errors) ** 2, len(effects)
    precisions, fixed = 1 / (variances + mean["tau"] ** 2), 1 / variances
    centre = float(precisions @ values / precisions.sum())
    spread_left = float(precisions @ (values - centre) ** 2) - (number - 1)
    # Paule and Mandel's tau makes the spread what the degrees of freedom are.
    solved = abs(spread_left) < 1e-4 * number or (mean["tau"] == 0 and spread_left <= 0)
    q = float(fixed @ (values - fixed @ values / fixed.sum()) ** 2)
    # Hartung and Knapp, never narrower than without their correction.
    plain_error = math.sqrt(1 / precisions.sum())
    error = plain_error * math.sqrt(max(1.0, (spread_left + number - 1) / (number - 1)))
    part = (1 + mean["confidence"]) / 2
    half = t_quantile(part, number - 1) * error
    again: dict[str, Any] = {
        "mean": centre, "se": error, "interval": [centre - half, centre + half], "q": q,
        "i2": max(0.0, 1 - (number - 1) / q) if q > 0 else 0.0, "weights": list(precisions / precisions.sum()),
        "prediction": None,
    }  # fmt: skip
    if number - 1 >= MIN_COMBINED:
        half = t_quantile(part, number - 2) * math.sqrt(mean["tau"] ** 2 + plain_error**2)
        again["prediction"] = [centre - half, centre + half]
    wrong = [] if solved else ["tau"]
    for name, value in again.items():
        was = mean[name]
        both = zip(np.ravel(was), np.ravel(value), strict=True) if None not in (was, value) else ()
        same = (was is None) == (value is None) and np.size(was) == np.size(value)
        wrong += [] if same and all(math.isclose(*pair, rel_tol=1e-6, abs_tol=1e-9) for pair in both) else [name]
    return wrong


def t_quantile(probability: float, degrees: int) -> float:
    """The quantile of Student's t, by bisection of its distribution (Abramowitz and Stegun 26.7.3 and 26.7.4)."""

    def below(bound: float) -> float:
        angle = math.atan(bound / math.sqrt(degrees))
        odd = degrees % 2
        term = total = math.cos(angle) ** odd if degrees > 1 else 0.0
        for place in range(2 + odd, degrees, 2):
            term *= math.cos(angle) ** 2 * (place - 1) / place
            total += term
        area = math.sin(angle) * total
        return (1 + (2 / math.pi * (angle + area) if odd else area)) / 2

    low, high = 0.0, 1e6
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < probability else (low, middle)
    return (low + high) / 2


COMBINED_WORDING = re.compile(
    r"tests of (?P<experiments>\d+) of (?P<protocols>\d+) experiments give p = (?P<p>[^\s,)]+) "
    r"\(two-sided, (?P<method>\w+)'s [^,)]*(?:, level (?P<level>[^)]+))?\); "
    r"(?:the mean effect is (?P<observed>\S+) standard deviations "
    r"\((?P<confidence>\d+)% interval (?P<interval_low>\S+) to (?P<interval_high>[^\s;]+); "
    r"between experiments a standard deviation of (?P<tau>[\d.]+)\)|the mean effect cannot be given)"
)


def check_combined_sentence(sentence: str, numbers: Mapping[str, Any], report: Report) -> None:
    """Compare the numbers that the sentence of a combined analysis names with those of the results."""
    named = COMBINED_WORDING.search(sentence)
    if named is None:
        report.add("FAULT", "the numbers of the sentence could not be compared: they are not where they belong")
        return
    wrong = [] if named["method"] == numbers["method"] else ["method"]
    wrong += [
        name for name, text in named.groupdict().items() if name != "method" and not names_number(text, numbers[name])
    ]
    report.compare(
        not wrong, "the sentence gives the numbers of the results", f"the sentence gives another {', '.join(wrong)}"
    )
    report.leave_open("the other words of the sentence: read them beside the numbers")
    report.add("unknown", "the words of the report: read them beside the numbers")


def edgington(p_values: Sequence[float]) -> float:
    """The probability of so small a sum of uniform numbers."""
    total, number = sum(map(Fraction, p_values)), len(p_values)
    terms = ((-1) ** j * math.comb(number, j) * (total - j) ** number for j in range(math.floor(total) + 1))
    return float(sum(terms) / math.factorial(number))


def stouffer(p_values: Sequence[float]) -> float:
    """The p of the sum of normal deviates."""
    if max(p_values) == 1:
        return 1.0
    normal = NormalDist()
    return normal.cdf(sum(normal.inv_cdf(p) for p in p_values) / math.sqrt(len(p_values)))


def first_that_holds(reasons: Mapping[str, object]) -> str:
    """The first reason that holds, nothing where none does."""
    return next((why for why, holds in reasons.items() if holds), "")


STATES = {
    "Benefit: ": "benefit",
    "Harm: ": "harm",
    "Differs, higher under treatment: ": "differs, higher under treatment",
    "Differs, lower under treatment: ": "differs, lower under treatment",
    "No effect was shown: ": "not shown",
    "No verdict: ": "no verdict",
}
WORDING = re.compile(
    r"(?:(?P<first>\S+) days differed from (?P<second>\S+) days by|the days lay) (?P<observed>\S+)"
    r"(?: in [^(]*| about [^(]*)? "
    r"(?:from the criterion in force on average|"
    r"\((?:two-sided (?P<confidence>[\d.]+)% interval (?P<low>\S+) to (?P<high>[^\s)]+)|no two-sided [^)]*)\)); "
    r"of (?P<of>[\d,]+) .*?, (?P<as_extreme>[\d,]+) gives? a (?:difference|distance) at "
    r"least as (?:extreme|far out|small) \(p = (?P<p>[^\s,)]+), [^)]*?"
    r"(?P<sides>one-sided, \w+|one-sided|two-sided)(?:, level (?P<level>[^\s,)]+))?\)"
)


def check_sentence(record: Mapping[str, Any], state: str, test: Mapping[str, Any], report: Report) -> None:
    """Compare the verdict, the conditions and the numbers that a sentence names with those of the results."""
    sentence, alpha = record["sentence"], record["config"]["alpha"]
    said = next((verdict for words, verdict in STATES.items() if sentence.startswith(words)), None)
    if said is None:
        report.leave_open(
            "the words of the sentence are of another release: read it beside the verdict and the numbers"
        )
        return
    report.compare(said == state, "the sentence says the verdict", f"the sentence says {said}, the verdict is {state}")
    named = WORDING.search(sentence)
    if test.get("p") is None:
        words = "the sentence gives the numbers of a test, and none is recorded"
        report.compare(named is None and "p =" not in sentence, "the sentence gives no test", words)
        return
    if named is None:
        report.add("FAULT", "the numbers of the sentence could not be compared: they are not where they belong")
        return
    interval, looked_at = test["interval"], test["assignments"] if test["draws"] is None else test["draws"]
    numbers = {"observed": test["observed"], "low": interval["low"], "high": interval["high"], "of": looked_at,
               "as_extreme": test["as_extreme"], "p": test["p"]}  # fmt: skip
    if named["confidence"] is not None:
        numbers["confidence"] = 100 * interval["confidence"]
        wrong_confidence = not close(interval["confidence"], 1 - alpha)
    else:
        wrong_confidence = False
    wrong = [name for name, number in numbers.items() if not names_number(named[name], number)]
    wrong += ["confidence"] if wrong_confidence else []
    wrong += [] if close(float(named["level"] or DEFAULT_LEVEL), alpha) else ["level"]
    direction = test["direction"]
    follows = criteria_way(test) is not None
    sides = "one-sided" if follows else f"one-sided, {direction}" if direction else "two-sided"
    wrong += [] if named["sides"] == sides else ["direction"]
    contrasts = record["results"].get("contrasts")
    pair = contrasts[0]["contrast"].split("-") if contrasts else ["treatment", "BASELINE"]
    expected = [side.replace("BASELINE", "baseline") for side in pair]
    wrong += [] if follows or [named["first"], named["second"]] == expected else ["condition"]
    report.compare(
        not wrong, "the sentence gives the numbers of the test", f"the sentence gives another {', '.join(wrong)}"
    )
    report.leave_open("the other words of the sentence: read them beside the numbers")
    report.add("unknown", "the words of the report: read them beside the numbers")


def names_number(text: str | None, number: float | None) -> bool:
    """Whether a text is a number rounded to its digits; no number is no text, or `unbounded`."""
    if text is None or number is None:
        return text in {None, "unbounded"} and number is None
    shown, digits = text.replace(",", ""), text.partition("e")[0]
    decimals = len(digits.partition(".")[2]) - int(text.partition("e")[2] or 0)
    return abs(float(shown) - number) <= 0.5 * 10.0**-decimals * (1 + RELATIVE)


def check_metrics(record: Mapping[str, Any], report: Report) -> None:
    """Compare the numbers that MLflow and the app show with the results."""
    results = record["results"]
    test, combined = results.get("test") or {}, results["effects"]["combined"]
    interval, missing = test.get("interval") or {}, results.get("missing days") or {}
    expected = {name: test.get(name) for name in ("observed", "p", "smallest_p", "assignments")} | {
        "interval_low": interval.get("low"), "interval_high": interval.get("high"),
        "worst_case_p": missing.get("worst_case_p"),
        "mean_difference": combined["mean_difference"], "nap": combined["overlap.nap"],
    }  # fmt: skip
    compare_metrics(record, expected, report)


def compare_metrics(record: Mapping[str, Any], expected: Mapping[str, float | None], report: Report) -> None:
    """Compare the numbers that MLflow and the app show with what the results give."""
    metrics = record["logged"]["metrics"]
    shown = {name: points[-1][1] if points else None for name, points in metrics.items()}
    wrong = [name for name, value in shown.items() if name not in expected or not same_number(value, expected[name])]
    # Older records leave out numbers that are undefined.
    wrong += [name for name, value in expected.items() if name not in shown and value is not None]
    report.compare(not wrong, f"the {len(shown)} numbers that MLflow and the app show are those of the results",
                   f"MLflow and the app show another {', '.join(wrong)}")  # fmt: skip


def same_number(shown: float | None, value: float | None) -> bool:
    """Whether a shown number is a value, or both are undefined."""
    return shown is value if shown is None or value is None else close(float(shown), float(value))


# The whole verification


def verify(folder: Path) -> tuple[dict[str, str], Report]:
    """Verify the crate in a folder; hash of its record, hash of its contents, its sentence; and what was found."""
    report = Report()
    files = read_files(folder, report)
    if RECORD not in files:
        report.add("FAULT", f"there is no {RECORD}: this is no crate of an analysis")
        return {"record": "none", "contents": sha256(listing(files).encode()), "sentence": ""}, report
    text = files[RECORD]
    about = {"record": sha256(text), "contents": sha256(listing(files).encode()), "sentence": ""}
    try:
        record = json.loads(text)
        same = canonical(record) == text
        about["sentence"] = plain(record["sentence"])
        analysis, days = record["identity"]["analysis"], record["artifacts"].get(DAYS, {}).get("sha256")
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        report.add("FAULT", f"{RECORD} is no record: {type(error).__name__}: {error}")
        return about, report
    report.compare(same, f"{RECORD} is in the form whose hash is recorded",
                   f"{RECORD} is not in the form whose hash is recorded")  # fmt: skip
    report.check(f"the files in {LISTING}", check_listing, files)
    report.check("the files", check_files, files, record)
    report.check(f"{METADATA} or {GUIDE}", check_metadata, files, record)
    if RESULTS in files:
        report.check(RESULTS, check_results, files, record)
    check_judgement = check_combined if analysis == COMBINED else check_no_verdict
    report.check("the verdict", check_verdict if analysis in TESTS else check_judgement, record)
    days_right = DAYS in files and sha256(files[DAYS]) == days
    if days_right:
        check_days(files, record, report)
    faults = report.faults
    report.check("the modules", check_modules, files, record)
    modules_right = report.faults == faults and record.get("module_bundle_sha256") is not None
    if days_right and modules_right:
        report.check("the results by the modules", check_by_modules, files, record)
    elif DAYS not in files:
        report.add("unknown", "the results cannot be computed again: the days are not in this crate")
    words = "whether the days and the plan are the source's: the source is not here, only the snapshot's hash is"
    report.add("unknown", words)
    if record.get("standing") is not None:
        report.add(
            "unknown", "whether this is the planned analysis: its standing follows from all records and snapshots"
        )
        report.leave_open("whether the schedule is the one that was drawn")
    report.close()
    if STAMP in files:
        command = f"openssl ts -verify -data {RECORD} -in {STAMP} -CAfile the authority's certificate"
        report.add("unknown", f"whether the time stamp is genuine: {command}")
    report.add("unknown", "when this was made, and whether an earlier analysis was left out: see the record's chain")
    report.add(
        "unknown",
        "whether this is the published record: compare its hash, and that of the contents, with those published",
    )
    return about, report


def check_days(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Compare the plan with the record, and by plain numpy what follows from the days."""
    report.check("the plan", check_plan, files, record)
    if record["identity"]["analysis"] in TESTS:
        report.check("the test", check_test, files, record)
        report.check("the effects", check_effects, files, record)
    criteria = ((record["results"].get("test") or {}).get("schedule") or {}).get("criteria")
    if criteria or "criteria" in record["results"]:
        report.check("the criteria", check_criteria, files, record)


def check_results(files: Files, record: Mapping[str, Any], report: Report) -> None:
    """Compare results.json with the results in the record."""
    same = json.loads(files[RESULTS]) == record["results"]
    report.compare(same, f"{RESULTS} holds the recorded results", f"{RESULTS} does not hold the recorded results")


def check_no_verdict(record: Mapping[str, Any], report: Report) -> None:
    """An analysis without a test has no verdict."""
    report.compare(
        record["verdict"] is None,
        "no verdict is recorded",
        f"a verdict is recorded, {record['verdict']}, without a test",
    )
    report.leave_open("the sentence is not derived again: read it beside the results")


def main() -> int:
    """Verify the crate beside this file, or in the folder that is named; 1 if anything is not as recorded."""
    arguments = [argument for argument in sys.argv[1:] if argument != "--json"]
    folder = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    about, report = verify(folder)
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({**about, "findings": report.lines, "verified": not report.faults}) + "\n")
    else:
        sys.stdout.write(f"record   {about['record']}\ncontents {about['contents']}\n{about['sentence']}\n")
        for status, words in report.lines:
            sys.stdout.write(f"{status:8} {words}\n")
        sys.stdout.write("not verified\n" if report.faults else "verified, except for what is unknown\n")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
