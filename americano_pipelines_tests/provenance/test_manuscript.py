"""A manuscript quotes the record, marks what people have to add, and acts on nothing in a name."""

import re

import pytest

from americano_pipelines.analysis.registry import KINDS, PROTOCOL_KINDS
from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.manuscript_text import published_protocol, write_manuscript
from americano_pipelines.provenance.record import Record
from americano_pipelines_tests.provenance.conftest import Lab


@pytest.mark.parametrize("kind", PROTOCOL_KINDS)
def test_the_manuscript_of_each_analysis_quotes_its_record(lab: Lab, kind: str) -> None:
    record = lab.analyse(kind).record

    text = write_manuscript(record, published_protocol(lab.settings, "protocol_1"), "Walks")

    assert text.startswith("# Walks\n")
    for quoted in (record.sentence, record.results["methods"]):
        assert plain(str(quoted)) in plain(text)
    assert f"| provenance record | {record.sha256} |" in text
    rows = re.findall(r"^\| (\d+) \| (.+?) \|", text, flags=re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 27))


def test_the_checklist_has_what_protocol_and_record_know(lab: Lab) -> None:
    lab.database.execute(
        "UPDATE experiment_protocols SET hypothesis = 'Walks help.', screened = 3, enrolled = 1 WHERE id = 'protocol_1'"
    )
    record = lab.analyse().record
    protocol = {"hypothesis": "Walks help.", "screened": 3, "enrolled": 1, "designtype": "ABAB", "deviations": "[]"}

    lines = write_manuscript(record, protocol, "Walks").splitlines()

    item = {line.split(" | ")[1]: line.split(" | ")[3].removesuffix(" |") for line in lines if line.count(" | ") == 3}
    assert item["Aims"] == "Walks help."
    assert item["Selection of participants"] == "screened 3, enrolled 1"
    assert item["Design"].startswith("ABAB: baseline_1 (BASELINE), ")
    assert item["Replication"] == "2 treatment and 2 baseline phases of one learner"
    assert item["Funding"] == item["Blinding"] == "TO BE ADDED"
    assert "were planned" in item["Changes of the procedure"] or "planned length" in item["Changes of the procedure"]
    bare = write_manuscript(record, {}, "Walks")
    assert bare.count("TO BE ADDED") == 13 + 2, "hypothesis and participants are in the protocol's row only"


def test_nothing_in_a_name_is_markdown(record: Record) -> None:
    name = "![x](http://evil.example/p.png) <script>|`a`\n# b"

    text = write_manuscript(record, {"hypothesis": name}, name)

    for line in text.splitlines():
        assert "<script" not in line.replace("\\<script", "")
        assert not re.search(r"(?<!\\)\[", line)
    assert text.count("\n# ") == 0


def test_an_analysis_without_methods_or_protocol_has_none(lab: Lab, record: Record) -> None:
    results = {name: value for name, value in record.results.items() if name != "methods"}
    trained = lab.perform(KINDS["training_demo"], epochs=1, seed=1).recorded.record

    with pytest.raises(AnalysisError, match="did not record its methods"):
        write_manuscript(record.model_copy(update={"results": results}), {}, "Walks")
    with pytest.raises(AnalysisError, match="of all learners"):
        write_manuscript(trained, {}, "")


def plain(text: str) -> str:
    """Without the backslashes before punctuation."""
    return text.replace("\\", "")
