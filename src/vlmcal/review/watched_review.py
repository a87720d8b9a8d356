"""The stream of a review: outcomes in the order in which they came in, and all cases."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from vlmcal.posthoc.monitoring import Watch, watch, watch_coverage, watch_rows
from vlmcal.review.case import Case
from vlmcal.review.measures import measure
from vlmcal.review.watching import COVERAGE, Stream, Watched, watch_stream
from vlmcal.review.weighting import Weighted, inverse_probabilities, weighted
from vlmcal.review.workflow import same
from vlmcal.types.arrays import BoolArray
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
    standing, facts = review.standing.cases(), review.standing.facts
    known = {n: (e.outcome.since, e.outcome.label) for n, e in standing.items() if e.outcome}
    if not known and references:
        for name, each in standing.items():
            if each.readings and each.case.reference is not None:
                known[name] = each.readings[0].final.time_utc, each.case.reference
    usable = ~np.isnan(facts.confidence)
    order = sorted((n for n in known if _usable(standing[n].case)), key=lambda n: known[n][0])
    truth = {name: label for name, (_, label) in known.items()}
    chosen = [standing[name].case for name in order]
    sets = [case.set for case in chosen]
    policy, tau = review.policy, review.about["thresholds"]["confidence"]
    every = facts.confidence[usable]
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
        times=np.array([known[name][0] for name in order], dtype=np.str_),
        covered=covered,
        sizes=sizes,
        target_coverage=None if alpha is None else 1 - alpha,
        accepted=np.array([not case.reasons for case in chosen], dtype=np.bool_),
        target_risk=policy.automation.target if policy.automation else policy.target_risk,
        confidences=every,
        before=before,
        deferred=every < tau if checked else facts.deferred,
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
            "biopsied), every number is about such cases only, but for those that are weighted"
        )
    return replace(
        found,
        measures=measured,
        notes=[*found.notes, *notes],
        weighted=_weighted(review, stream.rows, level),
    )


def _weighted(review: "Review", rows: Confidences, level: float) -> Weighted | None:
    """Estimates for all cases, by the share of known ones among those of a site that are deferred or not."""
    facts, standing = review.standing.facts, review.standing.cases()
    usable = np.flatnonzero(~np.isnan(facts.confidence))
    place = {name: i for i, name in enumerate(facts.ids[i] for i in usable.tolist())}
    if not 0 < len(rows) < len(place):
        return None
    here = np.array([place[name] for name in rows.ids.tolist()])
    known, stated = np.zeros(len(place), dtype=np.bool_), np.full(len(place), np.nan)
    known[here] = True
    for name, i in zip(rows.ids.tolist(), here.tolist(), strict=True):
        outcome = standing[name].outcome
        if outcome is not None and outcome.probability is not None:
            stated[i] = outcome.probability
    deferred = np.where(facts.deferred[usable], "deferred cases", "cases that are not deferred")
    sites = [f" of {site}" if site else "" for site in np.asarray(facts.site)[usable].tolist()]
    strata = np.char.add(deferred, sites)
    names, index = np.unique(strata, return_inverse=True)
    seen, n = np.bincount(index, known), np.bincount(index)
    unseen = [(str(names[i]), int(n[i])) for i in np.flatnonzero(seen == 0)]
    weights = inverse_probabilities(known, strata, stated)[here]
    cases = len(place) - sum(n for _, n in unseen)
    return weighted(rows, weights, cases, level=level)._replace(unseen=tuple(unseen))


def alarms(review: "Review") -> dict[str | None, str]:
    """What the tests say of the outcomes that were added to a review, by the site that they are about.

    Under None of all cases: where a test over all rows alarms, and its evidence without the rows of sites
    that alarm by themselves reaches the limit, too. So what is wrong at one site hides numbers there only;
    that a further condition is asked for cannot make false alarms more frequent.

    Args:
        review: The review.
    """
    stream = stream_of(review)
    if not len(stream.rows):
        return {}
    found = _tests(stream)
    told: dict[str | None, str] = {
        part: found[f"site = {part}"].sentence()
        for part in np.unique(stream.strata.get("site", np.empty(0, dtype=np.str_))).tolist()
        if found[f"site = {part}"].alarm is not None
    }
    apart = np.isin(stream.strata.get("site", np.full(len(stream.rows), "")), [*filter(None, told)])
    rest = found if not told or (apart.all() and len(told) > 1) else {}
    if told and not apart.all():
        rest = _tests(stream, ~apart)
    for name in ("all rows", COVERAGE):
        if name in rest and found[name].alarm is not None and rest[name].alarm is not None:
            return {None: f"{name}: {found[name].sentence()}", **told}
    return {site: f"site = {site}: {sentence}" for site, sentence in told.items()}


def _tests(stream: Stream, among: BoolArray | None = None) -> dict[str, Watch]:
    """Tests of a stream, or of some of its rows at the limits of the tests of all."""
    share = 0.05 if stream.covered is None else 0.025
    keep = slice(None) if among is None else among
    rows = stream.rows if among is None else stream.rows.subset(np.flatnonzero(among))
    if among is None:
        found = dict(watch_rows(rows, strata=stream.strata, alpha=share))
    else:
        found = {"all rows": watch(rows, alpha=share / (1 + len(stream.strata)))}
    if stream.covered is not None and stream.target_coverage is not None:
        found[COVERAGE] = watch_coverage(stream.covered[keep], stream.target_coverage, alpha=share)
    return found
