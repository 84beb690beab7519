"""Render one analysis as an HTML page that needs no other file."""

import base64
from collections.abc import Mapping
from html import escape
from typing import Any

from americano_pipelines.analysis.result import Analysis

_STYLE = (
    "body{font:16px/1.5 Georgia,serif;max-width:54rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin-top:2rem}"
    "p.verdict{font-size:1.1rem;border-left:4px solid #c8642b;padding-left:1rem}"
    "p.standing{padding-left:calc(1rem + 4px)}"
    "img{max-width:100%}table{border-collapse:collapse;font:13px/1.4 sans-serif;margin:.5rem 0}"
    "td,th{border-bottom:1px solid #ddd;padding:.25rem .7rem;text-align:left;vertical-align:top}"
    # Three hashes beside each other would be wider than the page.
    "td{overflow-wrap:anywhere;min-width:5rem}"
    "footer{font:12px/1.5 sans-serif;color:#666;margin-top:2rem}"
)


def render_report(
    analysis: Analysis,
    title: str,
    *,
    compliance: str,
    parameters: Mapping[str, Any],
    provenance: Mapping[str, Any],
    sections: Mapping[str, Any] | None = None,
) -> str:
    """Render the page.

    Args:
        analysis: the result.
        title: the title.
        compliance: whether it is the planned analysis, in a sentence; shown right below the result.
        parameters: the resolved parameters; None for one that was not given.
        provenance: snapshot, extract, software and identifiers; shown at the end.
        sections: what is shown after the parameters, by heading.
    """
    pictures = "".join(
        f'<img alt="{escape(name)}" src="data:image/png;base64,{base64.b64encode(content).decode()}">'
        for name, content in analysis.pictures.items()
    )
    results = "".join(
        f"<h2>{escape(name.capitalize())}</h2>{_shown(value)}"
        for name, value in analysis.results.items()
        if name != "verdict"
    )
    more = "".join(f"<h2>{escape(name)}</h2>{_shown(value)}" for name, value in (sections or {}).items())
    shown_parameters = {name: "not given" if value is None else value for name, value in parameters.items()}
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>"
        f'<p class="verdict">{escape(analysis.sentence)}</p><p class="standing">{escape(compliance)}</p>'
        f"{pictures}<h2>Method</h2><p>{escape(analysis.methods)}</p>{results}<h2>Parameters</h2>{_shown(shown_parameters)}{more}"
        f"<footer><h2>Provenance</h2>{_shown(dict(provenance))}</footer></body></html>"
    )


def _shown(value: Any) -> str:  # noqa: ANN401 - any JSON
    if isinstance(value, dict):
        rows = "".join(f"<tr><th>{escape(str(key))}</th><td>{_shown(item)}</td></tr>" for key, item in value.items())
        return f"<table>{rows}</table>"
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        return _shown_rows([_flat(item) for item in value])
    if isinstance(value, list):
        shown = [_shown(item) for item in value[:_MAX_ITEMS]]
        return (", ".join(shown) or "none") + (f" … ({len(value)} in all)" if len(value) > _MAX_ITEMS else "")
    if value is None:
        return "not defined"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _shown_rows(rows: list[dict[str, Any]]) -> str:
    """A table with a row for each; few rows of many columns stand beside each other, so that they fit on the page."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    if len(names) > _MAX_COLUMNS and len(rows) <= _MAX_COLUMNS:
        lines = [[escape(name), *(_shown(row.get(name)) for row in rows)] for name in names]
    else:
        lines = [[escape(name) for name in names], *([_shown(row.get(name)) for name in names] for row in rows)]
    first, *others = (list(line) for line in lines)
    header = "".join(f"<th>{cell}</th>" for cell in first)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in line)}</tr>" for line in others)
    return f"<table><tr>{header}</tr>{body}</table>"


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose parts are columns of their own, such as `overlap.nap`."""
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, dict) and value:
            flat |= {f"{name}.{inside}": item for inside, item in _flat(value).items()}
        else:
            flat[name] = value
    return flat


# The results file holds long lists as a whole.
_MAX_ITEMS, _MAX_COLUMNS = 12, 8
