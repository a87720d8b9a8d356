"""What a review gives away: a table of decisions, the log, and observations like those of FHIR."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from vlmcal.errors import SpecError
from vlmcal.io.atomic import atomic_write
from vlmcal.io.table_output import write_table
from vlmcal.review.log import canonical
from vlmcal.review.measures import readings
from vlmcal.review.standing import Reading
from vlmcal.review.workflow import NO_DEVICE, label_of

if TYPE_CHECKING:
    from vlmcal.review.database import Review

TABLES: Final = (".csv", ".tsv", ".parquet", ".xlsx")
LOG, FHIR = ".jsonl", ".json"
LEFT_OUT: Final = "[free text left out]"


def export(review: "Review", path: Path, *, free_text: bool = False) -> str:
    """Write a review to a file; its ending says what.

    A table (.csv, .tsv, .parquet, .xlsx) has a row for each decision, ``.jsonl`` is the log, which
    `vlmcal review verify` takes, and ``.json`` a bundle of observations like those of FHIR. Free text may
    identify a patient and is left out unless asked for. Each says that this is no diagnostic device.

    Returns:
        What was written, with the number of entries and the last hash.

    Raises:
        SpecError: Another ending.
        StoreError: The place cannot be written to.
    """
    ending = path.suffix.lower()
    count, last = review.last()
    if ending in TABLES:
        rows = decisions(review, free_text=free_text)
        write_table(rows, path)
        told = f"{len(rows['item']):,} decisions"
    elif ending == LOG:
        atomic_write(path, "".join(f"{line}\n" for line in log_lines(review, free_text=free_text)))
        told = "the log"
    elif ending == FHIR:
        bundle = observations(review, free_text=free_text)
        atomic_write(path, json.dumps(bundle, indent=1, ensure_ascii=False) + "\n")
        told = f"{len(bundle['entry']):,} observations"
    else:
        raise SpecError(f"{path}: expected a name that ends in {', '.join((*TABLES, LOG, FHIR))}")
    return f"{told}: {path}; log of {count:,} entries, last hash {last}"


def decisions(review: "Review", *, free_text: bool = False) -> dict[str, list[Any]]:
    """Columns of a table with a row for each decision in force.

    Args:
        review: The review.
        free_text: Also what readers typed.
    """
    standing = review.standing.cases()
    rows = [_row(row, free_text) for row in readings(review)]
    for row in rows:
        row["case_status"] = standing[row["item"]].verdict.status
        row["notice"] = NO_DEVICE
    names = list(rows[0]) if rows else ["item", "decision", "notice"]
    return {name: [row[name] for row in rows] for name in names}


def _row(row: Reading, free_text: bool) -> dict[str, Any]:
    event, case = row.final, row.case
    shown: Mapping[str, Any] = event.shown or {}
    reason = event.reason or {}
    return {
        "seq": event.seq,
        "time_utc": event.time_utc,
        "item": case.id,
        "group": case.group,
        "site": case.site,
        "reader": row.reader,
        "arm": row.arm,
        "first_answer": None if row.answer is None else told(row.answer.value, free_text),
        "own_confidence": None if row.answer is None else row.answer.confidence,
        "decision": told(event.value, free_text),
        "model_answer": case.predicted,
        "model_shown": row.shown,
        "p": shown.get("p"),
        "lo": shown.get("lo"),
        "hi": shown.get("hi"),
        "set": None if shown.get("set") is None else "|".join(shown["set"]),
        "reasons": "|".join(case.reasons),
        "override": row.override,
        "reason": reason.get("code"),
        "reason_text": reason.get("text") if free_text else None,
        "seconds": event.seconds,
        "truth": row.truth,
        "model_id": event.model_id,
        "calibrator_id": event.calibrator_id,
        "policy_hash": event.policy_hash,
        "hash": event.hash,
    }


def told(value: Any, free_text: bool) -> str:
    """A decision as text; what was typed only where asked for.

    Example:
        >>> told({"text": "Mr. Doe's fox"}, False), told(None, False)
        ('[free text left out]', 'cannot tell')
    """
    return LEFT_OUT if isinstance(value, Mapping) and not free_text else label_of(value)


def log_lines(review: "Review", *, free_text: bool = False) -> list[str]:
    """The log as lines of JSON: first one that says what it is, how long, and its last hash."""
    count, last = review.last()
    lines = [canonical({"notice": NO_DEVICE, "count": count, "last": last})]
    for event in review.events():
        plain = asdict(event)
        if not free_text:
            for name in ("value", "reason"):
                if isinstance(plain[name], Mapping) and plain[name].get("text"):
                    plain[name] = {**plain[name], "text": None}
        lines.append(canonical(plain))
    return lines


def observations(review: "Review", *, free_text: bool = False) -> dict[str, Any]:
    """A bundle of observations in the form of FHIR R5, one for each decision in force.

    It names no patient: the subject is the pseudonymous group of the case. No claim of conformance is made.
    """
    standing = review.standing.cases()
    entries = [
        _observation(row, standing[row.case.id].verdict.settled, free_text)
        for row in readings(review)
    ]
    tag = [{"display": NO_DEVICE}]
    return {
        "resourceType": "Bundle",
        "type": "collection",
        "meta": {"tag": tag},
        "entry": [{"resource": each} for each in entries],
    }


def _observation(row: Reading, settled: bool, free_text: bool) -> dict[str, Any]:
    event, case = row.final, row.case
    shown: Mapping[str, Any] = event.shown or {}
    value: dict[str, Any] = {"valueCodeableConcept": {"text": told(event.value, free_text)}}
    if event.value is None:
        value = {"dataAbsentReason": {"text": "the reader cannot tell"}}
    parts: list[dict[str, Any]] = [
        {"code": {"text": "arm"}, "valueString": row.arm},
        {"code": {"text": "model was shown"}, "valueBoolean": row.shown},
    ]
    if row.answer is not None:
        first = told(row.answer.value, free_text)
        parts.append({"code": {"text": "first answer"}, "valueString": first})
    if row.shown and case.predicted is not None:
        parts.append({"code": {"text": "answer of the model"}, "valueString": case.predicted})
    if shown.get("p") is not None:
        quantity = {"value": shown["p"], "unit": "probability"}
        parts.append({"code": {"text": "calibrated confidence"}, "valueQuantity": quantity})
    return {
        "resourceType": "Observation",
        "id": f"vlmcal-{event.seq}",
        "status": "final" if settled else "preliminary",
        "code": {"text": case.question or "class of the image"},
        "subject": {"identifier": {"value": case.group}},
        "specimen": {"identifier": {"value": case.id}},
        "effectiveDateTime": event.time_utc,
        "performer": [{"identifier": {"value": row.reader}}],
        "device": {"display": f"{event.model_id}; calibrated by {event.calibrator_id}"},
        **value,
        "component": parts,
        "note": [{"text": NO_DEVICE}],
    }
