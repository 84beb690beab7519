"""`americano purge` with another key than the pseudonyms were made with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from americano_pipelines.analysis.pseudonym import pseudonym
from americano_pipelines.provenance.archive import put
from americano_pipelines.settings import Settings
from americano_pipelines_tests.conftest import Database, Done
from americano_pipelines_tests.sync.support import sync

Cli = Callable[..., Done]
LEARNER = "learner_1"
ERASE = """DELETE FROM behavioral_events WHERE "userId" = 'learner_1';
DELETE FROM analysis_runs; DELETE FROM phase_assignments WHERE "protocolId" = 'protocol_1';
DELETE FROM experiment_protocols WHERE "userId" = 'learner_1'"""


def extract_of(settings: Settings, learner: str, protocol_id: str) -> Path:
    """Keep an extract as far as it says whose it is."""
    text = {"protocol": {"learner": pseudonym(settings, learner), "protocol_id": protocol_id}}
    return put(settings.paths.extracts, json.dumps(text).encode())[0]


@pytest.mark.parametrize(
    ("content", "card"),
    [
        (None, True),
        (b"", True),
        (b"1" * 64, True),
        pytest.param(b"1" * 64, False, id="replaced under an earlier release"),
    ],
)
@pytest.mark.slow
def test_with_another_key_a_learner_is_found_by_protocol(
    prisma: Database, cli: Cli, settings_for: Callable[..., Settings], content: bytes | None, *, card: bool
) -> None:
    values = prisma.variables(americano_snapshots_kept=1)
    settings = settings_for(**values)
    sync(settings)
    theirs, others = extract_of(settings, LEARNER, "protocol_1"), extract_of(settings, "learner_0", "protocol_0")
    # Of a protocol that no snapshot has, but under the pseudonym that the learner has in another extract.
    linked, linked_of_other = extract_of(settings, LEARNER, "earlier"), extract_of(settings, "learner_0", "former")
    unknown = extract_of(settings, "learner_6", "of no snapshot")
    key = settings.paths.root / "pseudonym.key"
    right = key.read_bytes()
    key.unlink()
    if content is not None:
        key.write_bytes(content)
    if not card:
        (settings.paths.root / "pseudonym.json").unlink()
    prisma.execute(ERASE)

    # The sync in it removes the snapshot that knew the protocols: they are looked up before.
    done = cli("purge", "--learner", LEARNER, "--json", **values)

    assert done.code == 1
    assert "pseudonym.key" in done.err
    assert f"extract {unknown.stem[:12]} may hold the learner's events: no kept snapshot has its protocol" in done.err
    assert "Purge once more with the key that made it" in done.err
    assert {theirs.stem, linked.stem} <= set(done.json["removed"])
    assert [path for path in (theirs, linked, others, linked_of_other, unknown) if path.exists()] == [
        others,
        linked_of_other,
        unknown,
    ]
    # With the right key nothing is out of reach.
    key.write_bytes(right)
    again = cli("purge", "--learner", LEARNER, "--json", **values)
    assert again.code == 0, again.err
    assert unknown.exists()
    assert others.exists()
