"""One case: its images, the reader's answer, the model once it may be seen, and the decision."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Request
from starlette.responses import Response

from vlmcal.errors import DataError, MissingExtraError, SpecError
from vlmcal.review.case import Case
from vlmcal.review.database import Filter
from vlmcal.review.log import Kind
from vlmcal.review.web import forms
from vlmcal.review.web.access import Person
from vlmcal.review.web.pictures import inside, look
from vlmcal.review.web.site import RefusedError, Site, go
from vlmcal.review.workflow import ADJUDICATION, WHY, Panel, State, label_of
from vlmcal.types.picture import EACH, Picture, View

Text = Annotated[str, Form()]
WHOLE = "whole"


def routes(site: Site) -> APIRouter:
    """Pages and forms of single cases."""
    router = APIRouter()

    @router.get("/case")
    def show(request: Request, item: str, last: str = "") -> Response:
        person = site.require(request)
        return page(site, request, person, item, last=last)

    @router.get("/image")
    def image(request: Request, item: str, n: int = 0) -> Response:
        site.require(request)
        try:
            picture = _picture(site, site.case(item), n, request.query_params)
            shown = replace(picture, view=look(picture).view)
            return Response(site.shelf.png(shown), media_type="image/png")
        except (DataError, SpecError, MissingExtraError) as error:
            raise RefusedError(404, "The image cannot be shown", str(error)) from error

    @router.post("/answer")
    def answer(
        request: Request, form: Text, item: Text, choice: Text = "", text: Text = "", sure: Text = "",
        at: Text = "",
    ) -> Response:  # fmt: skip
        person = site.require(request, form=form)
        case, state = site.case(item), site.review.state(item, person.code)
        try:
            value = forms.chosen(case, state, choice, text=text)
            own, took = forms.sure(sure), forms.seconds(at, time.time())
            site.review.act(person.code, item, "answer", value, confidence=own, seconds=took)
        except SpecError as error:
            typed = {"text": text, "choice": choice}
            return page(site, request, person, item, wrong=str(error), typed=typed)
        if state.arm == "blind":  # nothing is shown that could change it
            site.review.act(person.code, item, "final", value, confidence=own, seconds=took)
            return _next(site, person, item)
        site.review.act(person.code, item, "reveal")
        return go("/case", item=item, said="answered")

    @router.post("/reveal")
    def reveal(request: Request, form: Text, item: Text) -> Response:
        person = site.require(request, form=form)
        _act(site, person, site.case(item), "reveal")
        return go("/case", item=item)

    @router.post("/final")
    def final(
        request: Request, form: Text, item: Text, choice: Text = "", pick: Text = "", text: Text = "",
        reason: Text = "", note: Text = "", sure: Text = "", at: Text = "",
    ) -> Response:  # fmt: skip
        person = site.require(request, form=form)
        case, state = site.case(item), site.review.state(item, person.code)
        _may_judge(person, state)
        try:
            site.review.act(
                person.code,
                item,
                "final",
                forms.chosen(case, state, choice, pick, text),
                reason=forms.reason(reason, note),
                confidence=forms.sure(sure),
                seconds=forms.seconds(at, time.time()),
            )
        except SpecError as error:
            typed = {"choice": choice, "pick": pick, "text": text, "reason": reason, "note": note}
            return page(site, request, person, item, wrong=str(error), typed=typed)
        return _next(site, person, item, judged=state.arm == ADJUDICATION)

    @router.post("/undo")
    def undo(request: Request, form: Text, item: Text) -> Response:
        person = site.require(request, form=form)
        _act(site, person, site.case(item), "undo")
        return go("/case", item=item, said="undone")

    return router


def page(
    site: Site,
    request: Request,
    person: Person,
    item: str,
    *,
    last: str = "",
    wrong: str = "",
    typed: Mapping[str, str] | None = None,
) -> Response:
    """The page of one case, as far as this person may see it now.

    Args:
        site: The server.
        request: The request.
        person: Who asks.
        item: Id of the case.
        last: Id of the case before, whose decision may be taken back from here.
        wrong: What was wrong with the form that was sent.
        typed: What that form held.
    """
    case, state = site.case(item), site.review.state(item, person.code)
    _may_judge(person, state)
    if state.next and not state.opened:
        site.review.act(person.code, item, "open")
    options = forms.decisions(case, state) if state.next == ("final",) else []
    step = site.review.beside
    queue: Filter = "adjudicate" if state.arm == ADJUDICATION else "todo"
    return site.page(
        request,
        person,
        "case.html",
        422 if wrong else 200,
        case=case,
        state=state,
        stage=state.next[0] if state.next else "done",
        images=[_shown(site, case, n, request.query_params) for n in range(len(case.image))],
        panel=_panel(site, case, site.review.panel(item)) if state.show_model else None,
        answers=forms.answers(case),
        options=options,
        others=[label_of(event.value) for event in state.others],
        listed=forms.listed(case),
        steps=forms.STEPS,
        why=WHY,
        mine=None if state.answer is None else label_of(state.answer.value),
        decided=None if state.final is None else label_of(state.final.value),
        undo=_undo(site, person, case, state, last),
        before=step(item, person.code, -1, queue),
        after=step(item, person.code, 1, queue),
        history=_history(site, item, person),
        wrong=wrong,
        typed={"choice": "", "pick": "", "text": "", "reason": "", "note": "", **(typed or {})},
        at=f"{time.time():.3f}",
    )


def _may_judge(person: Person, state: State) -> None:
    if state.arm == ADJUDICATION and not person.may("reviewer"):
        raise RefusedError(
            403, "This case is decided", "Its readers disagree; a reviewer adjudicates."
        )


def _act(site: Site, person: Person, case: Case, event: Kind) -> None:
    try:
        site.review.act(person.code, case.id, event)
    except SpecError as error:
        raise RefusedError(409, "Nothing was saved", str(error)) from error


def _next(site: Site, person: Person, item: str, *, judged: bool = False) -> Response:
    """On to the case after this one, else to the first that is left, else to the queue."""
    queue: Filter = "adjudicate" if judged else "todo"
    after = site.review.beside(item, person.code, 1, queue)
    if after is None:
        left = site.review.page(person.code, queue, 0, 1)
        after = left[0].case.id if left else None
    if after is None:
        place, said = ("/adjudicate", "adjudicated") if judged else ("/", "last")
        return go(place, said=said, last=item)
    return go("/case", item=after, said="adjudicated" if judged else "decided", last=item)


def _undo(site: Site, person: Person, case: Case, state: State, last: str) -> dict[str, str] | None:
    """What can be taken back from this page: here, or on the case before."""
    if state.undo is not None:
        return {"item": case.id, "what": "your decision" if state.final else "your answer"}
    return undo_of(site, person, last)


def undo_of(site: Site, person: Person, last: str) -> dict[str, str] | None:
    """The decision on the case before, if it can still be taken back."""
    if not last:
        return None
    try:
        before = site.review.state(last, person.code)
    except DataError:
        return None
    return {"item": last, "what": f"your decision on {last}"} if before.final is not None else None


def _history(site: Site, item: str, person: Person) -> list[tuple[str, str]]:
    """What this person did on the case, oldest first."""
    words = {"open": "opened", "answer": "answered", "reveal": "saw the model", "final": "decided"}
    events = [
        e for e in site.review.events(item) if e.user_code == person.code and e.event != "outcome"
    ]
    found = []
    for event in events:
        what = words.get(event.event, f"took back entry {event.value}")
        if event.event in ("answer", "final"):
            what += f": {label_of(event.value)}"
        if event.reason:
            what += f" ({event.reason['code']})"
        found.append((event.time_utc[:19].replace("T", " "), f"{event.seq}: {what}"))
    return found


def _panel(site: Site, case: Case, panel: Panel) -> dict[str, Any]:
    """The model in words and numbers, ready to be printed."""
    share = dict(panel.classes)
    critical = set(site.review.policy.critical)
    bar = None
    if panel.confidence is not None and panel.low is not None and panel.high is not None:
        width = max(100 * (panel.high - panel.low), 0.5)
        bar = {"low": 100 * panel.low, "width": width, "at": 99.2 * panel.confidence}
    return {
        "predicted": panel.predicted,
        "hidden": panel.hidden,
        "word": panel.word,
        "percent": None if panel.confidence is None else percent(panel.confidence),
        "sentence": panel.frequency,
        "alike": panel.alike,
        "bar": bar,
        "set": None if panel.set is None else [_of_set(n, share, critical) for n in panel.set],
        "set_words": panel.set_words,
        "reasons": [f"{text[:1].upper()}{text[1:]}" for text in panel.sentences],
        "raw": [(_RAW.get(name, name), _raw(value)) for name, value in panel.raw.items()],
    }


def _of_set(name: str, share: Mapping[str, float], critical: set[str]) -> dict[str, Any]:
    told = percent(share[name]) if name in share else ""
    return {"name": name, "percent": told, "critical": name in critical}


_RAW: Mapping[str, str] = {
    "confidence": "confidence before calibration",
    "text": "reply",
    "scores": "scores",
    "kind": "kind of scores",
    "status": "status",
}


def _raw(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(_raw, value))
    return str(value)


def percent(value: float | None) -> str:
    """A share for people; ends only where they are reached.

    Example:
        >>> percent(0.823), percent(0.9999), percent(1.0)
        ('82 %', 'over 99 %', '100 %')
    """
    if value is None:
        return ""
    if 0.995 <= value < 1:
        return "over 99 %"
    if 0 < value < 0.005:
        return "under 1 %"
    return f"{100 * value:.0f} %"


def _picture(site: Site, case: Case, n: int, query: Mapping[str, str]) -> Picture:
    """The image that is asked for, found inside the folder of the source.

    Raises:
        DataError: No such image, or it lies elsewhere.
        SpecError: The window or frame is none.
    """
    if not 0 <= n < len(case.image):
        raise DataError(f"the case has {len(case.image)} images")
    root = site.review.root
    if root is None:
        raise DataError("the source has no folder of images; name it: --images FOLDER")
    return Picture(inside(Path(case.image[n]), [root]), _view(query))


def _view(query: Mapping[str, str]) -> View:
    window = ""
    if query.get("window") == WHOLE:
        window = EACH
    elif query.get("level", "") and query.get("width", ""):
        try:
            level, width = float(query["level"]), float(query["width"])
        except ValueError as error:
            raise SpecError("level and width: expected numbers") from error
        window = f"{level - width / 2:g}..{level + width / 2:g}"
    frame = query.get("frame", "")
    return View(window, int(frame) if frame.isdigit() else None, query.get("plane", ""))


def _shown(site: Site, case: Case, n: int, query: Mapping[str, str]) -> dict[str, Any]:
    """What the page says of one image; the query is about image ``n`` only."""
    asked = query if query.get("n", "0") == str(n) else {}
    try:
        picture = _picture(site, case, n, asked)
    except (DataError, SpecError) as error:
        return {"look": {"reason": str(error)}}
    seen = look(picture)
    parts: dict[str, Any] = {"item": case.id, "n": n}
    if seen.view.frame is not None:
        parts["frame"] = seen.view.frame
    if seen.view.plane:
        parts["plane"] = seen.view.plane
    level = width = ""
    if seen.view.window == EACH:
        parts["window"] = WHOLE
    elif seen.view.limits is not None:
        low, high = seen.view.limits
        level, width = f"{(low + high) / 2:g}", f"{high - low:g}"
        parts |= {"level": level, "width": width}
    values = {}
    if seen.low is not None and seen.high is not None:
        values = {"middle": f"{(seen.low + seen.high) / 2:g}", "span": f"{seen.high - seen.low:g}"}
        values |= {"low": f"{seen.low:g}", "high": f"{seen.high:g}"}
    return {
        "look": seen,
        "source": f"/image?{urlencode(parts)}",
        "level": level,
        "width": width,
    } | values
