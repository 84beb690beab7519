"""Answer with charts as SVG: for light and dark, with a title and a description, kept by what they show."""

import base64
import hashlib
import re
from typing import Any

import orjson
from fastapi import Request
from markupsafe import Markup
from starlette.responses import Response

from americano_pipelines.common.hashing import sha256_hex
from americano_pipelines.serving.answer_cache import KeptAnswer
from americano_pipelines.serving.answer_headers import is_not_modified, pinned_headers, strong_etag
from americano_pipelines.serving.pages.chart_frame import Spec
from americano_pipelines.serving.published_pool import OpenSnapshot
from americano_pipelines.serving.request_parts import listed_header
from americano_pipelines.serving.service import Service
from americano_pipelines.text_output import visible

_STYLE = (
    "svg{--ink:#1d2329;--soft:#767f88;--grid:#e4e7ea;--baseline:#3d5a78;--treatment:#b4500f;"
    "--baseline-band:#3d5a7814;--treatment-band:#b4500f1f}"
    "@media (prefers-color-scheme:dark){svg{--ink:#e7eaed;--soft:#9aa4ae;--grid:#333b43;--baseline:#8fb8e0;"
    "--treatment:#f0955a;--baseline-band:#8fb8e01a;--treatment-band:#f0955a2b}}"
    "@media print{svg{--ink:#000;--soft:#555;--grid:#ddd;--baseline:#3d5a78;--treatment:#b4500f;"
    "--baseline-band:#3d5a7814;--treatment-band:#b4500f1f}}"
)
_STYLE_SHA256 = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_NOT_IN_XML = re.compile("[\ufffe\uffff]")
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_SHA256}'; frame-ancestors 'none'; sandbox"


async def answer_chart(request: Request, service: Service, snapshot: OpenSnapshot, title: str, spec: Spec) -> Response:
    """The drawing of a specification, or 304 where the client has it.

    Args:
        request: the request.
        service: what draws; it keeps the drawing as long as its snapshot is open.
        snapshot: where the data are from.
        title: what the chart shows, in a sentence.
        spec: the specification.
    """
    title, spec = printable(title), printable(spec)
    sha256 = sha256_hex(orjson.dumps([_STYLE, title, spec]))
    headers = pinned_headers(snapshot, strong_etag("chart", snapshot.identity, sha256))
    if is_not_modified(listed_header(request, "if-none-match"), headers["etag"]):
        return Response(status_code=304, headers=headers)
    kept = service.cache.get(f"chart {sha256}")
    if kept is None:
        svg = await service.charts.svg(spec)
        kept = KeptAnswer(200, {}, _labelled(svg, title).encode())
        service.cache.put(f"chart {sha256}", kept)
    return Response(kept.body, headers=headers | {"content-security-policy": _POLICY}, media_type="image/svg+xml")


def printable(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """The same with escapes for characters that no XML has: one of them ends the process that draws."""
    if isinstance(value, str):
        return _NOT_IN_XML.sub(lambda match: f"\\u{ord(match[0]):04x}", visible(value))
    if isinstance(value, dict):
        return {name: printable(item) for name, item in value.items()}
    return [printable(item) for item in value] if isinstance(value, list | tuple) else value


def _labelled(svg: str, title: str) -> str:
    first, _, rest = svg.partition(">")
    label = Markup("<title>{}</title>").format(title)
    return f"{first}>{label}<style>{_STYLE}</style>{rest}"
