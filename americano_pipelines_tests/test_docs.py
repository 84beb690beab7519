"""Files that the documents name exist."""

import re
from pathlib import Path

import pytest

from americano_pipelines.settings import PROJECT_ROOT

PAGES = [PROJECT_ROOT / "README.md", *sorted((PROJECT_ROOT / "docs").rglob("*.md"))]
PLACES = [PROJECT_ROOT / name for name in ("", "americano_pipelines", "americano_pipelines_tests")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_sql_files_that_a_page_names_exist(page: Path) -> None:
    names = re.findall(r"`([\w/]+\.(?:py|sql))`", page.read_text(encoding="utf-8"))

    assert [name for name in names if not any((place / name).exists() for place in PLACES)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []
