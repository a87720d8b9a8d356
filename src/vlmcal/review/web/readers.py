"""The page of those who answer for the readers: agreement, arms, overrides, automation bias."""

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import Response

from vlmcal.metrics.clinical.paired import McNemar
from vlmcal.review.agreement import Agreement, agreements
from vlmcal.review.measures import Measures, measure
from vlmcal.review.web.site import Site
from vlmcal.types.estimate import Estimate

Table = tuple[str, Sequence[str], list[list[str]]]
NONE: Final = "–"


def routes(site: Site) -> APIRouter:
    """The page of agreement and arms."""
    router = APIRouter()

    @router.get("/agreement")
    def show(request: Request) -> Response:
        person = site.require(request, "reviewer")
        found = site.once("readers", lambda: (agreements(site.review), measure(site.review)))
        agreed, measured = found
        return site.page(
            request,
            person,
            "agreement.html",
            tables=[_agreement(agreed), *_arms(measured), _shares(measured), _verified(measured)],
            lines=_comparisons(measured),
        )

    return router


def share(found: Estimate | None) -> str:
    """A share with its interval and the number of rows behind it.

    Example:
        >>> share(Estimate(0.5, 0.25, 0.75, n=20)), share(None)
        ('50 % (25 to 75 %; 20)', '–')
    """
    if found is None:
        return NONE
    ends = _ends(found, "{:.0f} to {:.0f} %; ", 100)
    return f"{100 * found.value:.0f} % ({ends}{found.n:,})"


def _ends(found: Estimate, form: str, unit: float = 1) -> str:
    """The ends of an interval in a form; "" where there is none."""
    if found.low is None or found.high is None:
        return ""
    return form.format(unit * found.low, unit * found.high)


def _agreement(found: Sequence[Agreement]) -> Table:
    rows = []
    for each in found:
        kappa = each.kappa
        ends = _ends(kappa, "{:.2f} to {:.2f}") or NONE
        value = NONE if kappa.value != kappa.value else f"{kappa.value:.2f}"
        same = f"{100 * each.observed:.0f} %"
        rows.append([", ".join(each.readers), value, ends, same, f"{kappa.n:,}", each.method])
    head = ("Readers", "Kappa", "95 % interval", "Same decision", "Cases", "Kappa of")
    return "Agreement between readers", head, rows


def _arms(found: Measures) -> list[Table]:
    critical = sorted({name for arm in found.arms.values() for name in arm.sensitivity})
    head = ("Reading", "Decisions", "Right", *(f"Right where {n}" for n in critical), "Median time")
    rows = []
    for name, arm in found.arms.items():
        time = NONE
        if arm.seconds is not None:
            time = f"{arm.seconds.value:.0f} s{_ends(arm.seconds, ' ({:.0f} to {:.0f} s)')}"
        seen = [share(arm.sensitivity.get(each)) for each in critical]
        rows.append([name, f"{arm.n:,}", share(arm.accuracy), *seen, time])
    return [("Ways of reading, where the truth is known", head, rows)]


def _shares(found: Measures) -> Table:
    lines = (
        ("Overrides, of decisions with the model in view", found.overrides),
        ("Right, of the overrides with a known truth", found.right_overrides),
        (
            "Automation bias: went over to a wrong model, of right first answers",
            found.automation_bias,
        ),
        ("“Cannot tell”, of all decisions", found.cannot_tell),
    )
    return "Readers and model together", ("What", "Share"), [[n, share(e)] for n, e in lines]


def _verified(found: Measures) -> Table:
    rows = [[n, f"{known:,}", f"{cases:,}"] for n, (known, cases) in found.verified.items()]
    return "Where the truth is known", ("Cases", "Known", "All"), rows


def _comparisons(found: Measures) -> list[str]:
    lines = []
    if found.gain is not None:
        gain = found.gain
        ends = _ends(gain, " ({:+.0f} to {:+.0f})", 100)
        lines.append(
            f"Right decisions, first the reader and then the model, minus blind: {100 * gain.value:+.0f} "
            f"percentage points{ends}, {gain.n:,} decisions, resampled by patient."
        )
    pairs: tuple[tuple[str, str, McNemar | None], ...] = (
        ("the first answer", "the decision after the model was seen", found.before_after),
        ("the blind reading", "the reading with the model", found.across),
    )
    lines += [
        f"Of the same cases, {m.only_first:,} are right only in {one} and {m.only_second:,} only in {other} "
        f"(McNemar p = {m.p_value:.2g})."
        for one, other, m in pairs
        if m is not None
    ]
    return lines
