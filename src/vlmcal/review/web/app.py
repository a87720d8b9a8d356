"""The application: its pages behind the guard, without any page of the framework's own."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from vlmcal.errors import VlmcalError
from vlmcal.report.theme import css_variables
from vlmcal.review.database import Review
from vlmcal.review.policy import FEWEST, REASONS
from vlmcal.review.web import cases, exports, queue, readers, watch
from vlmcal.review.web.access import Access
from vlmcal.review.web.guard import Guard
from vlmcal.review.web.site import RefusedError, Site

STATIC: Final = Path(__file__).parent / "static"
KINDS: Final = {
    "review.css": "text/css",
    "review.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}
KEYS: Final = (
    (("1", "9"), "choose the first to the ninth class"),
    (("0",), "cannot tell"),
    (("Enter",), "save what is chosen"),
    (("U",), "take back your last answer or decision"),
    (("N",), "next case"),
    (("P",), "previous case"),
    (("?",), "this page"),
)
STEPS: Final = (
    "The case that needs a person most comes first.",
    "You answer before you see the model. A few cases, drawn by chance, never show it.",
    "Then you see the model's answer, how often it was right on local cases like this, and why a "
    "person is asked.",
    "You keep your answer, take the model's, change to another, or say that it cannot be told. Overriding "
    "the model, or going against its set, needs a reason.",
    "A decision can be taken back. Nothing is deleted: taking back is another entry in the log.",
)


def create_app(
    review: Review, access: Access, *, bound: str = "127.0.0.1", hosts: Sequence[str] = ()
) -> ASGIApp:
    """The application of one review.

    Args:
        review: The opened database.
        access: How a request becomes a person.
        bound: Address that the server listens at.
        hosts: Further host names under which it may be asked.
    """
    site = Site(review, access)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    for part in (queue, cases, readers, watch, exports):
        app.include_router(part.routes(site))

    @app.get("/help")
    def show_help(request: Request) -> Response:
        person = site.require(request)
        reasons = list(REASONS.values())
        return site.page(
            request, person, "help.html", keys=KEYS, steps=STEPS, reasons=reasons, fewest=FEWEST
        )

    @app.get("/static/{name}")
    def static(name: str) -> Response:
        if name not in KINDS:
            raise HTTPException(404)
        content = (STATIC / name).read_text(encoding="utf-8")
        if name == "review.css":
            dark = f"@media (prefers-color-scheme: dark) {{ :root {{ {css_variables('dark')} }} }}"
            content = f":root {{ {css_variables('light')} }}\n{dark}\n{content}"
        return Response(content, media_type=KINDS[name])

    @app.exception_handler(RefusedError)
    def refused(request: Request, error: RefusedError) -> Response:
        return site.refusal(request, error)

    @app.exception_handler(VlmcalError)
    def wrong(request: Request, error: VlmcalError) -> Response:
        return site.refusal(request, RefusedError(400, "That did not work", str(error)))

    @app.exception_handler(RequestValidationError)
    def unreadable(request: Request, error: RequestValidationError) -> Response:
        names = sorted({str(each["loc"][-1]) for each in error.errors()})
        said = f"Not as expected: {', '.join(names)}."
        return site.refusal(request, RefusedError(400, "That did not work", said))

    @app.exception_handler(HTTPException)
    def missing(request: Request, error: HTTPException) -> Response:
        return site.refusal(request, RefusedError(error.status_code, "No such page"))

    return Guard(app, bound, hosts)
