"""The canonical text: equal for equal values, and none for what JSON has no words for."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from americano_pipelines.errors import AnalysisError
from americano_pipelines.provenance.capture import capture_environment, dvc_lock_sha256
from americano_pipelines.provenance.record import canonical, sha256_of


def test_order_does_not_matter_and_values_do() -> None:
    assert canonical({"b": [1, None], "a": 0.1}) == b'{"a":0.1,"b":[1,null]}'
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1})
    assert sha256_of({"a": 1}) != sha256_of({"a": 1.0000000000000002})
    assert "ß".encode() in canonical({"a": "ß"})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_undefined_number_is_not_recorded_as_if_it_were_one(value: float) -> None:
    with pytest.raises(AnalysisError, match="cannot be recorded"):
        canonical({"p": value})


def test_the_environment_names_packages_and_lock_file_and_no_absent_dvc_lock() -> None:
    environment = capture_environment()

    assert environment.packages["numpy"]
    assert environment.lock_sha256 is not None
    assert dvc_lock_sha256() is None


@pytest.mark.skipif(find_spec("pymc") is not None, reason="PyMC is installed here")
def test_what_samples_a_posterior_is_named_where_it_is_installed_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not {"pymc", "arviz", "pytensor"} & capture_environment().packages.keys()
    for name in ("pymc", "arviz", "pytensor"):
        (tmp_path / f"{name}-5.9.dist-info").mkdir()
        (tmp_path / f"{name}-5.9.dist-info" / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 5.9\n"
        )
    monkeypatch.syspath_prepend(tmp_path)

    assert capture_environment().packages.items() >= {"pymc": "5.9", "arviz": "5.9", "pytensor": "5.9"}.items()
