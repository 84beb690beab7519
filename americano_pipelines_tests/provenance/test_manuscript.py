"""A manuscript quotes the record, marks what people have to add, and acts on nothing in a name."""

import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from docx import Document

from americano_pipelines.analysis.registry import KINDS, PROTOCOL_KINDS
from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.manuscript_formats import markdown, word_document
from americano_pipelines.provenance.manuscript_text import manuscript, reported_record
from americano_pipelines.provenance.perform import MANUSCRIPT, REPORT
from americano_pipelines.provenance.protocol_row import published_protocol
from americano_pipelines.provenance.record import Record
from americano_pipelines_tests.provenance.conftest import Lab


def write_manuscript(record: Record, protocol: Mapping[str, Any], name: str) -> str:
    return markdown(manuscript(reported_record(record, name), protocol))


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
    assert item["Selection criteria"] == "screened 3, enrolled 1"
    assert item["Design"].startswith("ABAB: baseline_1 (BASELINE), ")
    assert item["Replication"] == "2 treatment and 2 baseline phases of one learner"
    assert plain(item["Funding"]) == "TO BE ADDED: sources of funding, conflicts of interest"
    assert plain(item["Blinding"]) == "TO BE ADDED: whether it was used, and of whom"
    assert "Over pairs of phases: mean difference " in plain(item["Outcomes and estimation"])
    assert "were planned" in item["Procedural changes"] or "planned length" in item["Procedural changes"]
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


def test_the_file_for_a_word_processor_has_the_same_texts_and_tables(lab: Lab, record: Record) -> None:
    blocks = manuscript(reported_record(record, "Walks\x07"), published_protocol(lab.settings, "protocol_1"))

    document = Document(io.BytesIO(word_document(blocks)))

    texts = [paragraph.text for paragraph in document.paragraphs]
    assert texts[0].startswith("Walks"), "a character that XML cannot hold is shown as text"
    assert record.results["methods"] in texts
    checklist = next(table for table in document.tables if table.cell(0, 0).text == "SCRIBE")
    assert [row.cells[0].text for row in checklist.rows] == ["SCRIBE", *(str(number) for number in range(1, 27))]
    assert len(document.tables) == len(re.findall(r"^\|(?:---\|)+$", markdown(blocks), flags=re.MULTILINE))


def test_an_analysis_leaves_the_text_and_the_checklist_behind(lab: Lab) -> None:
    record = lab.analyse().record

    assert {MANUSCRIPT, REPORT} <= record.artifacts.keys()
    folder = lab.store.client.download_artifacts(str(record.tracking["run_id"]), "")
    text, page = (Path(folder, name).read_text(encoding="utf-8") for name in (MANUSCRIPT, REPORT))
    assert plain(str(record.results["methods"])) in plain(text)
    assert plain(record.sentence) in plain(text)
    assert "<h2>Checklist (SCRIBE 2016, with the items of CENT 2015)</h2>" in page
    assert page.count("TO BE ADDED: ") == plain(text).count("TO BE ADDED: ")
    assert "TO BE ADDED: sources of funding, conflicts of interest" in page


def plain(text: str) -> str:
    """Without the backslashes before punctuation."""
    return text.replace("\\", "")
