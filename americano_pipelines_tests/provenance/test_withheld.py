"""Lines that look like secrets are withheld and counted; ordinary code is left."""

import pytest

from americano_pipelines.provenance.secret_filter import without_addresses, without_secrets

HEAD = "diff --git a/x.py b/x.py\nindex 83db48f..bf269f4 100644\n--- a/x.py\n+++ b/x.py\n@@ -1,2 +1,3 @@\n"
WITHHELD = "(withheld: looks like a secret)"


@pytest.mark.parametrize(
    "line",
    [
        'password = "correct horse"',
        "    'api_key': os.environ.get('K', 'correct'),",
        "PGPASSWORD=correct",
        "# the token: correct",
        "ALTER ROLE x PASSWORD 'correct';",
        'url = "postgresql://somebody:correct@db.example.org/x"',
        'git = "https://correct@example.org/x.git"',
        'headers = {"Authorization": f"Bearer abcdefgh1"}',
        'x = "ghp_abcdefghijklmnopqrstuvwx"',
        'x = "AKIAABCDEFGHIJKLMNOP"',
        'x = "0123456789abcdef0123456789abcdef"',
        'x = "dGhlIHF1aWNrIGJyb3duIEZveCAx"',
    ],
)
def test_a_line_with_a_secret_is_withheld_whether_it_came_went_or_stayed(line: str) -> None:
    patch = f"{HEAD} {line}\n-{line}\n+{line}\n+y = 1\n"

    assert without_secrets(patch) == (f"{HEAD} {WITHHELD}\n-{WITHHELD}\n+{WITHHELD}\n+y = 1\n", 3)


def test_a_private_key_is_withheld_as_a_whole() -> None:
    key = "".join(
        f"+{line}\n" for line in ("-----BEGIN RSA PRIVATE KEY-----", "short", "x==", "-----END RSA PRIVATE KEY-----")
    )

    assert without_secrets(f"{HEAD}{key}+y = 1\n") == (HEAD + f"+{WITHHELD}\n" * 4 + "+y = 1\n", 4)


def test_a_value_on_the_next_line_goes_with_its_name() -> None:
    patch = f'{HEAD}+password = (\n+    "correct"\n+    "horse"\n+)\n+y = 1\n'

    text, count = without_secrets(patch)

    assert "correct" not in text
    assert "horse" not in text
    assert count >= 2
    assert text.endswith("+)\n+y = 1\n")


def test_the_line_that_git_adds_to_a_places_name_is_withheld_too() -> None:
    assert without_secrets('@@ -1 +1 @@ password = "correct"\n+y = 1\n') == ("@@ -1 +1 @@\n+y = 1\n", 0)


def test_ordinary_code_is_left() -> None:
    patch = HEAD + "".join(
        f"+{line}\n"
        for line in (
            "def test_a_server_that_did_not_answer_is_cleaned_by_the_next_purge(app: Database) -> None:",
            "    x = np.array([1.5, 2.5])  # see https://example.org/a/b#c",
            '    return f"{place}: {rows:,} rows"',
            "SELECT count(*) FROM research.events WHERE day > DATE '2025-01-01'",
        )
    )

    assert without_secrets(patch) == (patch, 0)


def test_a_lock_file_loses_only_an_address_with_a_password() -> None:
    pinned = "x==1 \\\n    --hash=sha256:0123456789abcdef0123456789abcdef\n"

    assert without_addresses(pinned) == (pinned, 0)
    assert without_addresses(f"--index-url https://u:correct@example.org/simple\n{pinned}") == (
        f"{WITHHELD}\n{pinned}",
        1,
    )
