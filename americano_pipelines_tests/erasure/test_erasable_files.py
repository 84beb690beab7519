"""An erasure knows the files of a run that show days, also of a run that ended before it was recorded."""

import pytest

from americano_pipelines.analysis.registry import PROTOCOL_KINDS
from americano_pipelines.erasure.mlflow_runs import shows_days
from americano_pipelines_tests.provenance.conftest import Lab


@pytest.mark.parametrize("kind", PROTOCOL_KINDS)
def test_each_file_of_an_analysis_is_known_without_its_record(lab: Lab, kind: str) -> None:
    record = lab.analyse(kind).record

    files = {path for path in record.artifacts if shows_days(path, record)}

    assert "days.json" in files
    assert {path for path in record.artifacts if shows_days(path, None)} == files
