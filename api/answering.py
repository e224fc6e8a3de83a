"""Pages as HTTP answers: validators and what may be kept, codings, links to the pages around."""

from collections.abc import Mapping

from fastapi import Request
from starlette.responses import Response

from api.caching import CLOSED, OPEN, VARY, Bodies, Body, coded, coding_of, etag_of_body, matching
from api.formats import MEDIA_TYPES
from api.paging import Cursors
from api.params import FormatName


def not_modified(request: Request, etag: str, bodies: Bodies) -> Response | None:
    """304 for a client that has what this validator stands for, else None."""
    held = matching(request.headers.get("if-none-match"), etag)
    if held is None:
        return None
    bodies.not_modified += 1
    return Response(status_code=304, headers={"ETag": held, "Cache-Control": CLOSED, "Vary": VARY})


def open_answer(request: Request, form: FormatName, body: Body) -> Response:
    """A page that the next tick may change."""
    return _response(form, body.content, _around(request, body) | {"Cache-Control": OPEN})


async def closed_answer(request: Request, form: FormatName, body: Body, etag: str, bodies: Bodies) -> Response:
    """A page that lies in the past as a whole, with its validator, compressed here: the validator is of the bytes."""
    coding = coding_of(request.headers.get("accept-encoding"), len(body.content))
    headers = _around(request, body) | {"Cache-Control": CLOSED, "ETag": coded(etag, coding)}
    if coding is None:
        return _response(form, body.content, headers)
    content = await bodies.encoded(etag, body, coding)
    return _response(form, content, headers | {"Content-Encoding": coding})


async def answer_by_content(request: Request, form: FormatName, body: Body, closed: bool, bodies: Bodies) -> Response:
    """A page of which only the body itself can say whether it is another one."""
    if not closed:
        return open_answer(request, form, body)
    etag = etag_of_body(body.content)
    return not_modified(request, etag, bodies) or await closed_answer(request, form, body, etag, bodies)


def _around(request: Request, body: Body) -> dict[str, str]:
    headers = {"Vary": VARY, "X-Truncated": str(body.truncated).lower(), "X-Tail": body.tail}
    link = Cursors(body.next, body.previous).link(request)
    return headers if link is None else headers | {"Link": link}


def _response(form: FormatName, content: bytes, headers: Mapping[str, str]) -> Response:
    return Response(content, headers=dict(headers), media_type=MEDIA_TYPES[form])
