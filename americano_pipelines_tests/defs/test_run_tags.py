"""Run tags and metadata keys that programs read are named in one table."""

import ast
from pathlib import Path

import americano_pipelines
from americano_pipelines.defs import run_tags

PACKAGE = Path(americano_pipelines.__file__).parent
# The last is that of tags which Dagster hides.
PREFIXES = ("americano/", "dagster/", ".dagster/")


def test_every_key_is_namespaced() -> None:
    names = {name: value for name, value in vars(run_tags).items() if name.isupper()}
    states = {"OPEN", "ROW_OPEN", "ROW_RECONCILED", "ROW_MISSED"}
    no_keys = {*states, "CODE_LOCATION", "REPOSITORY", "OUTSIDE_STEPS"}
    keys = [value for name, value in names.items() if name not in no_keys]
    flat = [key for value in keys for key in ([value] if isinstance(value, str) else value)]

    assert no_keys < names.keys()
    assert [key for key in flat if not key.startswith(PREFIXES)] == []
    assert len(set(flat)) == len(flat)


def test_no_other_module_writes_a_key_out() -> None:
    written = {
        (path.relative_to(PACKAGE).as_posix(), node.value)
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if path != Path(run_tags.__file__)
        and isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(PREFIXES)
        and " " not in node.value
    }

    # `dagster/` alone is the part that is cut off a launcher's tag.
    assert {(path, key) for path, key in written if key != "dagster/"} == set()
