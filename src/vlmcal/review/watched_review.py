"""The stream of a review: outcomes in the order in which they came in, and all cases."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmcal.review.case import Case
from vlmcal.review.measures import measure
from vlmcal.review.outcomes import latest
from vlmcal.review.watching import Stream, Watched, watch_stream
from vlmcal.review.workflow import in_force, same
from vlmcal.types.confidences import Confidences

if TYPE_CHECKING:
    from vlmcal.review.database import Review


def stream_of(review: "Review", *, references: bool = False) -> Stream:
    """What came in, of a review.

    Args:
        review: The review.
        references: Where there are no outcomes, take the right answers that the source knew, in the order of
            the decisions.
    """
    when = {event.item: event.time_utc for event in reversed(review.events(kind="outcome"))}
    truth = latest(review)
    cases = review.arrived()
    by_id = {case.id: case for case in cases}
    if not truth and references:
        for item, events in review.by_case().items():
            final = next((e for e in in_force(events) if e.event == "final"), None)
            reference = by_id[item].reference
            if final is not None and reference is not None:
                truth[item], when[item] = reference, final.time_utc
    order = sorted((item for item in truth if _usable(by_id[item])), key=lambda i: when[i])
    chosen = [by_id[item] for item in order]
    sets = [case.set for case in chosen]
    policy, tau = review.policy, review.about["thresholds"]["confidence"]
    every = np.array([case.confidence for case in cases if _usable(case)], dtype=np.float64)
    covered = sizes = None
    if chosen and all(each is not None for each in sets):
        sizes = np.array([len(each or ()) for each in sets], dtype=np.float64)
        pairs = zip(chosen, sets, strict=True)
        covered = np.array([any(same(truth[c.id], n) for n in each or ()) for c, each in pairs])
    alpha = review.about["alpha"]
    before = np.array(review.evidence.sample, dtype=np.float64)
    checked = tau is not None and np.isfinite(tau) and before.size
    sites: Any = np.array([case.site for case in chosen], dtype=np.str_)
    rows = Confidences(
        confidence=np.array([case.confidence for case in chosen], dtype=np.float64),
        correct=np.array([same(truth[c.id], c.predicted) for c in chosen], dtype=np.bool_),
        ids=np.array(order, dtype=np.str_),
        groups=np.array([case.group for case in chosen], dtype=np.str_),
    )
    return Stream(
        rows=rows,
        strata={"site": sites} if len(chosen) and np.all(sites != "") else {},
        times=np.array([when[item] for item in order], dtype=np.str_),
        covered=covered,
        sizes=sizes,
        target_coverage=None if alpha is None else 1 - alpha,
        accepted=np.array([not case.reasons for case in chosen], dtype=np.bool_),
        target_risk=policy.automation.target if policy.automation else policy.target_risk,
        confidences=every,
        before=before,
        deferred=every < tau if checked else np.array([bool(c.reasons) for c in cases]),
        deferral_rate=float((before < tau).mean()) if checked else None,
    )


def _usable(case: Case) -> bool:
    return case.confidence is not None and case.predicted is not None


def watch_review(review: "Review", **options: Any) -> Watched:
    """What :func:`~vlmcal.review.watching.watch_stream` finds in a review, with what its readers did.

    Args:
        review: The review.
        **options: Of :func:`~vlmcal.review.watching.watch_stream`.
    """
    stream = stream_of(review, references=True)
    found = watch_stream(stream, **options)
    level = options.get("level", 0.95)
    notes = [] if len(stream.rows) else ["no outcome yet: calibration cannot be watched"]
    known, n = (measured := measure(review, level=level)).verified.get("all cases", (0, 0))
    if 0 < known < n:
        notes.append(
            f"{known:,} of {n:,} cases have an outcome; where these are not a random part (treated, "
            "biopsied), every number is about such cases only"
        )
    return replace(found, measures=measured, notes=[*found.notes, *notes])


def alarm(review: "Review") -> str:
    """What the tests say of the outcomes that were added to a review; "" where none alarms."""
    stream = stream_of(review)
    if not len(stream.rows):
        return ""
    from vlmcal.posthoc.monitoring import watch_coverage, watch_rows

    share = 0.05 if stream.covered is None else 0.025
    found = dict(watch_rows(stream.rows, strata=stream.strata, alpha=share))
    if stream.covered is not None and stream.target_coverage is not None:
        found["label sets"] = watch_coverage(stream.covered, stream.target_coverage, alpha=share)
    told = [f"{name}: {each.sentence()}" for name, each in found.items() if each.alarm is not None]
    return told[0] if told else ""
