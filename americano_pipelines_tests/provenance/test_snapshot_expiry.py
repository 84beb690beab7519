"""Cards of expired snapshots form a chain, and a card that is changed or removed shows."""

from pathlib import Path

import pytest

from americano_pipelines.provenance.chain import named_expiry, read_chain
from americano_pipelines.provenance.record import ExpiryHead
from americano_pipelines.provenance.snapshot_expiry import add_card, read_expiry
from americano_pipelines.settings import Settings, load_settings
from americano_pipelines_tests.provenance.records import kept_record

RECORD, FINDING = "a" * 64, "b" * 64


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = load_settings(americano_data_dir=tmp_path / "data")
    for number in range(3):
        add_card(settings.paths, f"snapshot {number}", {RECORD: FINDING} if number == 1 else {})
    return settings


def gap(settings: Settings, end: ExpiryHead | None, start: int = 1) -> str:
    return read_expiry(settings.paths).gap(end, start)


def test_each_card_names_the_one_before_and_records_name_the_last(settings: Settings) -> None:
    chain = read_expiry(settings.paths)
    assert [chain.cards[number][0].previous for number in (1, 2, 3)] == [None, chain.cards[1][1], chain.cards[2][1]]
    assert chain.findings == {RECORD: (2, FINDING)}

    kept_record(settings, chained=True)

    assert named_expiry(settings.paths, read_chain(settings.paths)) == chain.end
    assert chain.gap(chain.end) == ""


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("removed", [True, False])
def test_a_card_that_is_changed_or_removed_shows(settings: Settings, number: int, *, removed: bool) -> None:
    end, path = read_expiry(settings.paths).end, settings.paths.expired_snapshots / f"{number}.json"
    text = path.read_text()
    path.unlink()
    if not removed:
        path.write_text(text.replace("snapshot ", "snapshot of "))

    assert gap(settings, end) == f"card {number} of the snapshots that expired " + (
        "is gone or was changed" if removed else "was changed"
    )
    assert gap(settings, end, number + 1) == "", "later cards do not need it"


def test_all_cards_that_are_removed_or_written_anew_are_known_by_a_record(settings: Settings) -> None:
    end = read_expiry(settings.paths).end
    for path in settings.paths.expired_snapshots.iterdir():
        path.unlink()
    assert gap(settings, end) == "card 3 of the snapshots that expired is gone or was changed"
    for number in range(4):
        add_card(settings.paths, f"snapshot {number}", {RECORD: "c" * 64})

    assert gap(settings, end) == "card 4 of the snapshots that expired was changed"
    assert gap(settings, None) == "", "no record names a card: nothing shows it"


def test_the_first_card_names_the_findings_from_before_there_were_cards(tmp_path: Path) -> None:
    settings = load_settings(americano_data_dir=tmp_path / "data")
    settings.paths.extract_checks.mkdir(parents=True)
    for name in ("old", "new"):
        (settings.paths.extract_checks / f"{name}.json").write_text(name)

    add_card(settings.paths, "snapshot", {"new": FINDING})

    (card, _) = read_expiry(settings.paths).cards[1]
    assert (list(card.earlier), card.findings) == (["old"], {"new": FINDING})


@pytest.mark.timeout(30)
@pytest.mark.parametrize("content", ["", '{"number": 7}'])
def test_a_card_that_cannot_be_read_keeps_its_number_and_stops_no_other(settings: Settings, content: str) -> None:
    folder = settings.paths.expired_snapshots
    (folder / "3.json").chmod(0o600)
    (folder / "3.json").write_text(content)

    add_card(settings.paths, "snapshot 3", {})

    assert sorted(path.name for path in folder.iterdir()) == ["1.json", "2.json", "3.json", "4.json"]
    assert (
        gap(settings, read_expiry(settings.paths).end) == "card 3 of the snapshots that expired is gone or was changed"
    )


def test_no_card_follows_one_that_cannot_be_read_at_the_moment(settings: Settings) -> None:
    """The next card would not name its hash, which would show as a change for ever."""
    card = settings.paths.expired_snapshots / "3.json"
    aside = card.rename(card.with_name("aside"))
    card.mkdir()

    with pytest.raises(OSError, match=r"3\.json"):
        add_card(settings.paths, "snapshot 3", {})

    card.rmdir()
    aside.rename(card)
    add_card(settings.paths, "snapshot 3", {})
    assert gap(settings, read_expiry(settings.paths).end) == ""
