"""The queue: what needs a person, first what needs one most."""

from typing import Any, Final, cast

from fastapi import APIRouter, Request
from starlette.responses import Response

from vlmcal.review.database import Filter, Row
from vlmcal.review.policy import worded
from vlmcal.review.web.access import Person
from vlmcal.review.web.cases import undo_of
from vlmcal.review.web.site import Site, go

PER_PAGE: Final = 50
TELLING: Final = ("r3",)  # reasons that say which classes the model has in mind
FILTERS: Final = (
    ("todo", "left for me"),
    ("deferred", "for a person by the policy"),
    ("done", "decided by me"),
    ("all", "all cases"),
)


def routes(site: Site) -> APIRouter:
    """The queue, and the queue of those who adjudicate."""
    router = APIRouter()

    @router.get("/")
    def queue(
        request: Request, show: str = "todo", page: int = 1, item: str = "", last: str = "",
        token: str = "",
    ) -> Response:  # fmt: skip
        if token:
            return _signed_in(site, token)
        person = site.require(request)
        if item:
            return go("/case", item=site.case(item.strip()).id)
        wanted = show if show in dict(FILTERS) else "todo"
        return _listing(site, request, person, wanted, page, last)

    @router.get("/adjudicate")
    def adjudicate(request: Request, page: int = 1, last: str = "") -> Response:
        return _listing(site, request, site.require(request, "reviewer"), "adjudicate", page, last)

    return router


def _signed_in(site: Site, token: str) -> Response:
    """The token goes from the address, which browsers remember, to a cookie."""
    answer = go("/")
    if site.access.person(token) is not None:
        answer.set_cookie(site.access.cookie, token, httponly=True, samesite="lax", path="/")
    return answer


def _listing(
    site: Site, request: Request, person: Person, show: str, page: int, last: str
) -> Response:
    review, judging = site.review, show == "adjudicate"
    counts = review.counts(person.code, judging=judging)
    totals = {
        "todo": counts.todo,
        "deferred": counts.deferred,
        "done": counts.done,
        "all": counts.cases,
        "adjudicate": counts.adjudicate,
    }
    pages = max(1, -(-totals[show] // PER_PAGE))
    page = min(max(page, 1), pages)
    rows = review.page(person.code, cast("Filter", show), (page - 1) * PER_PAGE, PER_PAGE)
    return site.page(
        request,
        person,
        "queue.html",
        title="To adjudicate" if judging else "Queue",
        judging=judging,
        rows=[_line(site, person, row) for row in rows],
        filters=[(name, words, totals[name]) for name, words in FILTERS],
        show=show,
        page_number=page,
        pages=pages,
        total=totals[show],
        counts=counts,
        about=review.about,
        first=rows[0].case.id if rows and show in ("todo", "adjudicate") else None,
        undo=undo_of(site, person, last),
    )


def _line(site: Site, person: Person, row: Row) -> dict[str, Any]:
    """One case of the queue; nothing in it says what the model answered before this person has."""
    case = row.case
    arm = site.review.policy.arm(case.id, person.code)
    open_to_all = row.done or arm == "assisted"
    codes = [code for code in case.reasons if open_to_all or code not in TELLING]
    why = [worded(code, case) for code in codes] or (
        ["the policy asks for a person"] if case.reasons else []
    )
    critical = "critical" in case.flags and open_to_all
    if arm == "blind":
        why, critical = ["blind reading"], False
    return {"case": case, "done": row.done, "why": why, "critical": critical}
