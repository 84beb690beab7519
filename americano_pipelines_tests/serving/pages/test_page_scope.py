"""What pages and charts show: only rows in scope, escaped, under a strict policy, and nothing before the end."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import httpx
import pytest

from americano_pipelines_tests.serving.pages.conftest import RECORDED, RUNNING, Pages, Visitor
from americano_pipelines_tests.serving.published import HTML, LEARNERS, TENANT_OF, learner_of

SVG = "{http://www.w3.org/2000/svg}"


def paths(learner: str) -> list[str]:
    """The pages and charts about a learner."""
    protocol, run = f"protocol-{learner}", f"run-{learner}"
    return [
        f"/protocols/{protocol}",
        f"/analyses/{run}",
        f"/learners/{learner}",
        f"/charts/series/narrow/{protocol}.svg",
        f"/charts/learner/narrow/{learner}.svg",
        f"/charts/overlay/narrow.svg?a={protocol}&b={protocol}",
    ]


class Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def without_question(answer: httpx.Response) -> str:
    return answer.text.replace(answer.request.url.path, "").replace(answer.request.url.query.decode(), "")


SCOPES = [
    (("learner",), {"learner": "learner-1"}, {"learner-1"}),
    (("read",), {"tenants": ("school-1",)}, {name for name in LEARNERS if TENANT_OF[name] == "school-1"}),
    (("operator",), {}, set()),
]


@pytest.mark.parametrize(("scopes", "more", "allowed"), SCOPES)
def test_pages_show_what_is_in_scope_and_nothing_else(
    pages: Pages, scopes: tuple[str, ...], more: dict[str, str], allowed: set[str]
) -> None:
    visitor = pages.visitor(*scopes, **more)

    for path in ("/", "/protocols", "/compare", "/charts/rows/narrow.svg"):
        assert learner_of(visitor.get(path).text) <= allowed, path
    for learner in LEARNERS[:4]:
        for path in paths(learner):
            answer = visitor.get(path)
            assert answer.status_code == (200 if learner in allowed else 403 if scopes == ("operator",) else 404), path
            assert learner_of(without_question(answer)) <= allowed, path
    for path in (
        f"/analyses/{pages.record}",
        f"/compare?a={pages.record}&b={pages.record}",
        f"/charts/distribution/narrow/{pages.record}.svg",
        f"/charts/effect/narrow/{pages.record}.svg",
    ):
        assert (visitor.get(path).status_code == 200) == (RECORDED in allowed), path


def test_what_is_hidden_is_answered_like_what_is_not_there(pages: Pages) -> None:
    visitor = pages.visitor("learner", learner="learner-1")

    for hidden, absent in zip(paths("learner-2"), paths("nobody"), strict=True):
        assert (visitor.get(hidden).status_code, visitor.get(hidden).content) == (
            visitor.get(absent).status_code,
            visitor.get(absent).content,
        )


def test_an_etag_is_of_one_principal(pages: Pages) -> None:
    visitors = [pages.visitor("admin"), pages.visitor("read"), pages.visitor("learner", learner="learner-1")]
    for path in ("/protocols", f"/protocols/protocol-{RECORDED}", f"/analyses/{pages.record}"):
        answers = [visitor.get(path) for visitor in visitors]
        assert len({answer.headers["etag"] for answer in answers}) == len(visitors)
        assert {answer.headers["cache-control"] for answer in answers} == {"private, no-cache"}
        for visitor, answer in zip(visitors, answers, strict=True):
            again = visitor.get(path, if_none_match=answer.headers["etag"])
            assert (again.status_code, again.content) == (304, b"")
        stale = visitors[0].get(path, if_none_match=answers[1].headers["etag"])
        assert stale.status_code == 200


def test_pages_run_nothing_and_load_nothing_from_elsewhere(pages: Pages) -> None:
    visitor = pages.visitor("admin")
    addresses = ["/", "/protocols", "/compare", "/sign-in", "/protocols/none", *paths("learner-1")[:3]]
    for path in addresses:
        answer = visitor.get(path)
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "script-src" not in policy
        assert "unsafe" not in policy
        tags = Tags(answer.text).tags
        assert not {"script", "style", "iframe", "object"} & {tag for tag, _ in tags}
        for _, attributes in tags:
            assert not [name for name in attributes if name.startswith("on") or name == "style"]
            for name in ("src", "srcset", "href", "action"):
                address = attributes.get(name) or "/"
                assert address.startswith(("/", "#")), address
                assert not address.startswith("//")
        images = [attributes for tag, attributes in tags if tag == "img"]
        assert all(attributes["alt"] and attributes["src"] != "x" for attributes in images)


def test_html_in_names_and_labels_is_shown_as_text(pages: Pages) -> None:
    visitor = pages.visitor("admin")

    assert "&lt;img src=x" in visitor.get("/protocols").text
    assert "&lt;b&gt;a test&lt;/b&gt;" in visitor.get(f"/analyses/{pages.record}").text
    for path in paths("learner-1"):
        answer = visitor.get(path)
        assert HTML not in answer.text
        if path.startswith("/charts"):
            assert "sandbox" in answer.headers["content-security-policy"]
            root = ET.fromstring(answer.text)  # noqa: S314 - our own drawing
            assert {element.tag for element in root.iter()} & {f"{SVG}script", f"{SVG}img", f"{SVG}image"} == set()
            assert not [name for element in root.iter() for name in element.attrib if name.startswith("on")]


def test_a_running_experiment_shows_progress_and_no_result(pages: Pages) -> None:
    visitor = pages.visitor("admin")
    protocol = f"/protocols/protocol-{RUNNING}"
    early = next(
        name
        for name in re.findall("/analyses/([0-9a-f]{64})", visitor.get(protocol).text)
        if "Too early" in visitor.get(f"/v1/analyses/{name}/provenance").text
    )
    shown = [protocol, f"/analyses/run-{RUNNING}", f"/analyses/{early}", f"/compare?a={early}&b={early}"]

    for path in shown:
        text = visitor.get(path).text
        for result in ("It helps", "Too early", "benefit", "1.50", ".010", "Visual analysis"):
            assert result not in text, path
    text = visitor.get(protocol).text
    assert "10 of 28 days" in text
    assert "No verdict while the experiment runs" in text
    assert "early result looks good" in text
    assert "drawn after the end" in text
    row = next(part for part in visitor.get("/protocols").text.split("<tr>") if f"protocol-{RUNNING}" in part)
    assert "running" in row
    assert "not before the end" in row
    assert "benefit" not in row
    for chart in ("distribution", "effect"):
        assert visitor.get(f"/charts/{chart}/wide/{early}.svg").status_code == 404
        assert visitor.get(f"/charts/{chart}/wide/run-{RUNNING}.svg").status_code == 404
    assert _marks(visitor, RUNNING)["mark-rule"] < _marks(visitor, RECORDED)["mark-rule"]


def _marks(visitor: Visitor, learner: str) -> dict[str, int]:
    """How many marks of each kind the chart of an experiment has, without those of its axes."""
    root = ET.fromstring(visitor.get(f"/charts/series/wide/protocol-{learner}.svg").text)  # noqa: S314 - our own
    counts: dict[str, int] = {}
    for element in root.iter(f"{SVG}g"):
        kind, _, role = element.get("class", "").partition(" ")
        if role == "role-mark" or role.startswith(("role-mark ", "layer_")):
            counts[kind] = counts.get(kind, 0) + len(element)
    return counts


def _today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def test_a_chart_has_a_point_for_each_day_with_a_value(pages: Pages) -> None:
    visitor = pages.visitor("admin")
    for learner in (RECORDED, RUNNING):
        days = pages.api.rows(f"/v1/protocols/protocol-{learner}/series")
        # The events of the running one reach into the future; days that are not over are not drawn.
        shown = [day for day in days if day["value"] is not None and day["starts_at"] < _today()]
        assert len(shown) == (10 if learner == RUNNING else 28)
        assert _marks(visitor, learner)["mark-symbol"] == len(shown)


def test_an_experiment_that_is_over_shows_its_result(pages: Pages) -> None:
    visitor = pages.visitor("read")
    text = visitor.get(f"/protocols/protocol-{RECORDED}").text

    for shown in (
        "It helped.",
        "benefit",
        "1.50 (0.50 to 2.50)",
        ".010",
        "Randomization distribution",
        "50 possible",
        "Visual analysis: level, trend",
        '<th scope="row">&lt;i&gt;base&lt;/i&gt;</th><td class="num">1.25</td><td class="num">yes</td>',
        '<th scope="row">&lt;i&gt;base&lt;/i&gt;, 60</th><td class="num">2.5',
        '<th scope="row">base and help</th><td class="num">\N{EN DASH}</td>',
    ):
        assert shown in text
    for link in (f"/v1/analyses/{pages.record}/provenance", f"/v1/protocols/protocol-{RECORDED}/series.csv"):
        assert f'href="{link}"' in text
        assert visitor.get(link).status_code == 200
    assert visitor.get(f"/analyses/run-{RECORDED}").text.count(pages.record) > 1


def test_a_comparison_lines_up_two_records(pages: Pages) -> None:
    text = pages.visitor("read").get(f"/compare?a={pages.record}&b={pages.record}").text

    assert text.count("1.50 (0.50 to 2.50)") == 2
    assert text.count("No difference.") == 5
    assert "charts/overlay/" in text


def test_the_morning_withholds_counts_and_lists_what_failed(pages: Pages) -> None:
    learner = pages.visitor("learner", learner="learner-1").get("/")
    assert (learner.status_code, learner.headers["location"]) == (303, "/protocols")
    researcher, admin = (pages.visitor(scope).get("/").text for scope in ("read", "admin"))

    for text in (researcher, admin):
        assert "0 pending, 1 failed" in text
        assert "/analyses/run-learner-6" in text
        assert "failed</b>" in text  # a check: events are not as many as the source's
    # The last 60 days have events of one learner.
    assert "are withheld" in researcher
    assert "/charts/rows/wide.svg" in admin
    assert "/charts/rows" not in researcher
    tenant = pages.visitor("read", tenants=("school-1",)).get("/").text
    assert "Last runs" not in tenant
    assert "Disk" not in tenant
    operator = pages.visitor("operator").get("/").text
    assert re.search(r"\d of \d+ failed</b>", operator)
    assert "Rows by day" not in operator


def test_a_page_of_nothing_published_says_so(pages: Pages) -> None:
    visitor = pages.visitor("read")

    for path in ("/protocols/none", "/analyses/none", "/learners/none", f"/protocols/{'x' * 300}"):
        answer = visitor.get(path)
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("text/html")
        assert "there is no such" in answer.text.lower()
