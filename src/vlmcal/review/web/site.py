"""What every page shares: the database, who asks, the templates, and how refusals are said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse

import vlmcal
from vlmcal.errors import DataError
from vlmcal.report.html import environment
from vlmcal.review.case import Case
from vlmcal.review.database import Review
from vlmcal.review.web.access import Access, Person
from vlmcal.review.web.pictures import Shelf

TEMPLATES: Final = Path(__file__).parent / "templates"
# Said after an action; the address holds the word only, so nothing else can be put on the page.
SAID: Final[Mapping[str, str]] = {
    "answered": "Saved: your answer.",
    "decided": "Saved: your decision. Here is the next case.",
    "last": "Saved: your decision. No more cases wait for you.",
    "undone": "Saved: taken back. The log keeps what was there before.",
    "adjudicated": "Saved: the adjudication.",
    "outcomes": "Saved: the outcomes.",
}
LINKS: Final = (
    ("/", "Queue", "reader"),
    ("/adjudicate", "Adjudicate", "reviewer"),
    ("/agreement", "Agreement", "reviewer"),
    ("/watch", "Watch", "reader"),
    ("/export", "Export", "admin"),
    ("/help", "Help", "reader"),
)


class RefusedError(Exception):
    """A request that is not carried out.

    Attributes:
        status: HTTP status.
        title: Heading of the page that says so.
        lines: Paragraphs.
    """

    def __init__(self, status: int, title: str, *lines: str) -> None:
        super().__init__(title)
        self.status, self.title, self.lines = status, title, lines


@dataclass(frozen=True)
class Site:
    """One running server.

    Attributes:
        review: The opened database.
        access: How a request becomes a person.
        shelf: Images in memory.
    """

    review: Review
    access: Access
    shelf: Shelf = field(default_factory=Shelf)
    _known: dict[str, tuple[str, Any]] = field(default_factory=dict, repr=False)

    def once(self, name: str, made: Callable[[], Any]) -> Any:
        """What was made for this state of the log, or made now; for pages that go through all of it."""
        last = self.review.last()[1]
        if self._known.get(name, ("", None))[0] != last:
            self._known[name] = (last, made())
        return self._known[name][1]

    def require(self, request: Request, role: str = "reader", form: str | None = None) -> Person:
        """The person who asks, if the role allows it.

        Args:
            request: The request.
            role: Least role.
            form: Token that came with a form; None for a page.

        Raises:
            RefusedError: Nobody is known, the role is too low, or the form is not one of this server.
        """
        person = self.access.who(request)
        if person is None:
            raise RefusedError(
                401,
                "Please open the page with your link",
                "The link with your token was printed when the server was started, or was given to you.",
            )
        if not person.may(role):
            raise RefusedError(
                403,
                "This page is not for your role",
                f"It needs the role {role}; you are {person.role}.",
            )
        if form is not None and not person.owns_form(form):
            raise RefusedError(
                403,
                "Nothing was saved",
                "The form was made before the server was started anew. Open the case again.",
            )
        return person

    def case(self, item: str) -> Case:
        """A case by its id.

        Raises:
            RefusedError: There is none.
        """
        try:
            return self.review.case(item)
        except DataError as error:
            raise RefusedError(
                404, "No such case", f'There is no case "{item}" in this review.'
            ) from error

    def page(
        self,
        request: Request,
        person: Person | None,
        template: str,
        /,
        status: int = 200,
        **values: Any,
    ) -> HTMLResponse:
        """A page in the common frame; everything that is put into it is escaped."""
        alarms = self.review.alarms()
        made = environment(TEMPLATES).get_template(template)
        text = made.render(
            person=person,
            links=[(at, name) for at, name, role in LINKS if person and person.may(role)],
            here=request.url.path,
            said=SAID.get(request.query_params.get("said", ""), ""),
            alarm=self.review.alarm(),
            alarmed=[] if None in alarms else list(alarms),
            version=vlmcal.__version__,
            **values,
        )
        return HTMLResponse(text, status)

    def refusal(self, request: Request, refused: RefusedError) -> HTMLResponse:
        """The page that says why not."""
        person = self.access.who(request)
        back = "/" if person is not None else ""
        return self.page(
            request, person, "notice.html", refused.status,
            title=refused.title, lines=refused.lines, back=back, back_name="To the queue",
        )  # fmt: skip


def go(path: str, **query: str | int | None) -> RedirectResponse:
    """On to another page after a form, so that a reload repeats nothing."""
    kept = {name: value for name, value in query.items() if value not in (None, "")}
    return RedirectResponse(f"{path}?{urlencode(kept)}" if kept else path, 303)
