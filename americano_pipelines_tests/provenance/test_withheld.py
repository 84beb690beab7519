"""Lines that look like secrets are withheld and counted; ordinary code is left."""

import random
import string

import pytest

from americano_pipelines.provenance.secret_filter import without_addresses, without_secrets
from americano_pipelines.settings import PROJECT_ROOT

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
        'PASS = "correct"',
        "DB_PASS=correct",
        "SMTP_PW=correct make",
        'os.environ["PGPASS"] = "correct"',
        'pw: str = "correct"',
        "dbKey = 'correct'",
        'if pw == "correct":',
        'auth = ("root", "correct")',
        'requests.get(url, auth=HTTPBasicAuth("root", "correct"))',
        'connection = connect("db", "root", "correct")',
        'server.login("root", "correct")',
        'SALT = b"correct"',
        "pin = 4711",
        '"Authorization": "Basic dTpw"',
        "# curl -H Bearer correct1",
        'cookie = "session=correct"',
        "Set-Cookie: id=correct",
        'sas = "?sv=2020&sig=correct"',
        'url = f"{base}?api-key=correct"',
        "CREATE USER x IDENTIFIED BY correct",
        "CREATE USER x IDENTIFIED WITH sha2 BY 'correct'",
        "psql root:correct@db.example.org/x",
        'x = "https://hooks.example.org/services/T00/B00/correct0"',
        'PASSWORT = "correct"',
        'x = "sk-correct-horse-battery"',
        'x = "q7mz2kfh9w4xt1bd"',
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


def test_a_text_of_several_lines_goes_with_its_name() -> None:
    patch = f'{HEAD}+PGPASS = """\n+correct\n+horse"""\n+y = 1\n'

    assert without_secrets(patch) == (f"{HEAD}+{WITHHELD}\n+{WITHHELD}\n+{WITHHELD}\n+y = 1\n", 3)


def test_words_of_a_generator_are_withheld_whatever_their_name() -> None:
    draw = random.Random(7)  # noqa: S311 - the same words each time
    letters = string.ascii_lowercase + string.digits
    words = ["".join(draw.choices(alphabet, k=20)) for alphabet in (letters, letters.upper()) for _ in range(200)]
    patch = HEAD + "".join(f'+x = "{word}"\n' for word in words)

    _, count = without_secrets(patch)

    assert count >= 0.97 * len(words)


def test_of_the_projects_own_code_hardly_a_line_is_withheld() -> None:
    files = [path for end in ("py", "sql") for path in (PROJECT_ROOT / "americano_pipelines").rglob(f"*.{end}")]
    lines = [f"+{line}\n" for path in files for line in path.read_text(encoding="utf-8").splitlines()]

    _, count = without_secrets(HEAD + "".join(lines))

    assert 0 < count <= 0.005 * len(lines)


def test_the_line_that_git_adds_to_a_places_name_is_withheld_too() -> None:
    assert without_secrets('@@ -1 +1 @@ password = "correct"\n+y = 1\n') == ("@@ -1 +1 @@\n+y = 1\n", 0)


def test_ordinary_code_is_left() -> None:
    patch = HEAD + "".join(
        f"+{line}\n"
        for line in (
            "def test_a_server_that_did_not_answer_is_cleaned_by_the_next_purge(app: Database) -> None:",
            "    x = np.array([1.5, 2.5])  # see https://example.org/a/b#c",
            '    return f"{place}: {rows:,} rows"',
            "rows = sorted(tables, key=lambda table: table.name)",
            "for key, value in pairs.items():",
            "    pass",
            "table.primary_key == key",
            'monkeypatch.setenv("TZ", "UTC")',
            "# the basic test passes; compass=north, author = 'Ann'",
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
