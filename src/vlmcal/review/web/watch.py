"""The page of those who watch the model, and the same for machines: JSON and Prometheus' text."""

import json
import math
from typing import Any, Final

import numpy as np
from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from vlmcal.io.json_files import finite
from vlmcal.posthoc.monitoring import Watch
from vlmcal.review.prometheus import prometheus
from vlmcal.review.watched_review import watch_review
from vlmcal.review.watching import Watched, Window
from vlmcal.review.web.charts import line
from vlmcal.review.web.readers import NONE, share
from vlmcal.review.web.site import Site
from vlmcal.review.workflow import NO_DEVICE

TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"
HEAD: Final = (
    "Outcomes", "Entered", "Mean confidence", "Right", "Confidence minus right", "ECE",
    "Wrong, left to the model", "Sets that hold the truth", "Classes in a set",
)  # fmt: skip


def routes(site: Site) -> APIRouter:
    """The page and the two endpoints."""
    router = APIRouter()

    def watched() -> Watched:
        found: Watched = site.once("watched", lambda: watch_review(site.review))
        return found

    @router.get("/watch")
    def show(request: Request) -> Response:
        person, found = site.require(request), watched()
        whole = found.alarms.get("all rows")
        return site.page(
            request,
            person,
            "watch.html",
            found=found,
            tests=[_test(name, each) for name, each in found.alarms.items()],
            chart=None if whole is None or not whole.log_e.size else _evidence(whole),
            tables=[
                ("Over time", HEAD, [_row(f"{w.first:,} to {w.last:,}", w) for w in found.windows]),
                (
                    "By site or kind",
                    ("Part", *HEAD[1:]),
                    [_row(*part) for part in found.parts.items()],
                ),
            ],
            drift="" if found.shift is None else found.shift.sentence(),
            deferral=_deferral(found),
        )

    @router.get("/watch.json")
    def as_json(request: Request) -> Response:
        site.require(request)
        plain = {"notice": NO_DEVICE, "alarm": site.review.alarm(), **_short(watched())}
        return Response(json.dumps(finite(plain), allow_nan=False), media_type="application/json")

    @router.get("/metrics")
    def metrics(request: Request) -> Response:
        site.require(request)
        return Response(prometheus(watched()), media_type=TEXT)

    return router


def _test(name: str, found: Watch) -> dict[str, Any]:
    sentence = found.sentence()
    return {
        "name": name,
        "alarm": found.alarm is not None,
        "sentence": f"{sentence[:1].upper()}{sentence[1:]}",
    }


def _evidence(found: Watch) -> Markup:
    """Evidence against calibration over the outcomes, on a scale of powers of ten."""
    values, limit = found.log_e / math.log(10), -math.log10(found.alpha)
    top = max(limit, float(values.max()))
    ticks = [
        (float(k), f"{10.0**k:g}") for k in range(0, math.ceil(top) + 1, max(1, math.ceil(top / 4)))
    ]
    words = (
        f"Evidence against calibration after each of {values.size} outcomes; {found.sentence()}."
    )
    floored = np.maximum(values, -1.0)  # below a tenth there is nothing to see
    return line(floored, limit, ticks=ticks, across="outcomes", words=words)


def _row(name: str, each: Window) -> list[str]:
    days = each.since[:10], each.until[:10]
    return [
        name,
        days[0] if days[0] == days[1] else " to ".join(days),
        f"{100 * each.confidence:.0f} %",
        share(each.accuracy),
        f"{100 * each.gap.value:+.1f} points",
        share(each.ece),
        share(each.risk),
        share(each.coverage),
        NONE if each.set_size is None else f"{each.set_size:.2f}",
    ]


def _deferral(found: Watched) -> str:
    if found.deferral_rate is None:
        return ""
    told = f"deferred to a person: {share(found.deferral_rate)}"
    if found.deferral is not None and found.deferral.alarm is not None:
        told += f"; the rate went {found.deferral.way} (CUSUM at case {found.deferral.alarm:,})"
    return told


def _short(found: Watched) -> dict[str, Any]:
    """As plain data, of the evidence its last and its largest value only."""
    plain = found.to_dict()
    for name, each in found.alarms.items():
        last = float(each.log_e[-1]) if each.log_e.size else 0.0
        plain[name] = {
            **plain[name],
            "log_e": last,
            "log_e_most": float(each.log_e.max(initial=0.0)),
        }
    return plain
