"""What can be reviewed: a run folder, a file of predictions, or a folder of answers."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vlmcal.calibrators.base import UNCALIBRATED, Calibrator, make
from vlmcal.conformal.base import CONFORMAL, ConformalPredictor
from vlmcal.conformal.quantile import too_few
from vlmcal.errors import DataError, SpecError, require_none
from vlmcal.hashing import digest, digest_file
from vlmcal.io.predictions import Rows, load_predictions, read_predictions
from vlmcal.io.run_predictions import read_status
from vlmcal.options import build
from vlmcal.posthoc.cross_fit import cross_fit
from vlmcal.review.answer_source import answer_source
from vlmcal.review.case import Case
from vlmcal.review.evidence import Evidence
from vlmcal.review.image_files import image_file as image_file
from vlmcal.review.image_files import image_references
from vlmcal.review.policy import Policy
from vlmcal.review.triage import (
    FOLDS,
    Source,
    check_classes,
    expected_costs,
    judged,
    ood_scores,
    thresholds,
)
from vlmcal.types.arrays import StrArray
from vlmcal.types.confidences import Confidences
from vlmcal.types.predictions import Predictions

Read = Callable[[Path, bool], Rows]
"""Reads a file of predictions; the second argument says whether its rows are to be fitted on."""


_OF_TABLES = tuple(f"--{name} is for tables" for name in ("image", "question", "site"))


class Columns(NamedTuple):
    """Columns of a table that are shown and not measured, by what they are.

    Attributes:
        image: Path of the image of a row.
        question: What is asked about it.
        site: Site, modality or kind.
    """

    image: str | None = None
    question: str | None = None
    site: str | None = None

    def by(self, held_out: bool = False) -> tuple[str, ...]:
        """As the option ``by`` of :func:`vlmcal.io.predictions.read_predictions`.

        Args:
            held_out: For rows that nobody looks at: these need no images and no questions.
        """
        wanted = (self.site,) if held_out else self
        return tuple(name for name in wanted if name is not None)


def read_source(
    path: str | Path,
    policy: Policy | None = None,
    *,
    calibrator: str | Path | None = None,
    conformal: str | None = None,
    alpha: float = 0.1,
    held_out: Path | None = None,
    images: Path | None = None,
    columns: Columns | None = None,
    elicitor: str | None = None,
    part: str | None = None,
    read: Read | None = None,
    **reading: Any,
) -> Source:
    """Cases of a source, with calibrated confidences, label sets and reasons for deferral.

    Args:
        path: A run folder; a file of predictions, as `vlmcal evaluate` reads it; or an answers folder of
            `vlmcal vqa`.
        policy: Default: :class:`~vlmcal.review.policy.Policy`.
        calibrator: Name (fitted on the held-out rows), or a file of `vlmcal calibrate fit`. Default: the
            confidences as they are; "platt" for answers, cross-fitted on those with a verdict.
        conformal: Conformal method, fitted on the raw scores of the held-out rows.
        alpha: Its target.
        held_out: Labelled rows of the same model and place; a run has its own.
        images: Folder that images are under; default: that of the file.
        columns: Of a table.
        elicitor: Label of the answers to review; default: the first.
        part: Test part of a run ("base", "new"); default: the first.
        read: Reads a file of predictions; default :func:`~vlmcal.io.predictions.read_predictions`.
        **reading: Its options.

    Raises:
        DataError: No such source, or held-out rows that do not go with it.
        SpecError: No such method, or the policy needs what is not there.
    """
    if images is not None and not Path(images).is_dir():
        raise DataError(f"{images}: no such folder of images")
    place, policy, columns = Path(path).expanduser(), policy or Policy(), columns or Columns()
    asked = _Asked(policy, calibrator, conformal, alpha, columns)
    of_runs, of_answers = {"--part is for runs": part}, {"--elicitor is for answers": elicitor}
    of_tables: dict[str, object] = {
        **dict(zip(_OF_TABLES, columns, strict=True)),
        "--held-out is for files": held_out,
    }
    if place.is_dir() and (place / "answers.jsonl").exists():
        require_none(f"{path} is a folder of answers", of_runs | of_tables)
        if conformal is not None:
            raise SpecError(
                "--conformal: answers have one confidence each and no scores of classes"
            )
        return answer_source(place, policy, calibrator, elicitor, images)
    if place.is_dir() and (place / "status.json").is_file():
        require_none(f"{path} is a run", of_answers | of_tables)
        rows, held, made = _run(place, part)
        return _predictions(rows, held, asked, made._replace(root=images or made.root))
    require_none(f"{path} is a file", of_runs | of_answers)
    if read is None:

        def read(file: Path, fitting: bool) -> Rows:
            split = {"split": "calibration"} if fitting else {"labels_needed": False}
            return read_predictions(file, **{**reading, **split, "by": columns.by(fitting)})

    test = read(place, False)
    val = None if held_out is None else read(held_out, True)
    made = _Made(f"{place.name} ({digest_file(place)[:12]})", place.name, images or place.parent)
    if isinstance(test.data, Confidences):
        return _confidences(test, val, asked, made)
    return _predictions(test, val, asked, made)


class _Asked(NamedTuple):
    """How cases are judged, and what is read of a table; see :func:`read_source`."""

    policy: Policy
    calibrator: str | Path | None
    conformal: str | None
    alpha: float
    columns: Columns


class _Made(NamedTuple):
    """What made the rows, what to call them, and the folder of their images."""

    model: str
    title: str
    root: Path | None


def _run(folder: Path, part: str | None) -> tuple[Rows, Rows | None, _Made]:
    """Rows of a test part of a run, its held-out rows, and what made them."""
    status = read_status(folder, of_rows=True)
    names = [name for name in status["sets"] if name != "calibration"]
    wanted = names[0] if part is None and names else f"test_{part}"
    if wanted not in names:
        known = ", ".join(name.removeprefix("test_") for name in names) or "none"
        raise DataError(f'{folder}: no test part "{part}"; valid: {known}')

    def load(name: str) -> Rows:
        file = folder / "predictions" / f"{name}.safetensors"
        return Rows(load_predictions(file), None, {})  # type: ignore[arg-type]

    held = load("calibration") if "calibration" in status["sets"] else None
    label = str(status.get("label", folder.name))
    root = status.get("cell", {}).get("data", {}).get("root")
    images = Path(root) if isinstance(root, str) and Path(root).is_dir() else None
    return load(wanted), held, _Made(f"{label} ({status.get('id', folder.name)})", label, images)


def _predictions(test: Rows, val: Rows | None, asked: _Asked, made: _Made) -> Source:
    rows = test.data
    assert isinstance(rows, Predictions)
    held = None if val is None else val.data
    if held is not None and not isinstance(held, Predictions):
        raise DataError("the held-out rows have one confidence each, the cases scores of classes")
    policy = asked.policy
    check_classes(policy, rows.class_names)
    notes: list[str] = []
    shown, checked, calibrator_id = _calibrated(asked.calibrator, rows, held, notes)
    sets, alpha = _sets(asked.conformal, asked.alpha, rows, held, notes)
    top = None if checked is None else checked.top_label()
    evidence = _evidence(top, val, asked.columns)
    ood = limit = None
    if policy.ood is not None:
        ood = ood_scores(rows, policy.ood)
        limit = None if held is None else ood_scores(held, policy.ood)
    limits = thresholds(policy, top, limit)
    p = shown.probabilities()
    costs = expected_costs(p, rows.class_names, policy)
    raw = rows.probabilities().max(axis=1)
    best, own = shown.predicted(), rows.predicted()
    cases = []
    for i, told in enumerate(_told(test, asked.columns, made.root)):
        order = np.argsort(-p[i], kind="stable")
        inside = None if sets is None else tuple(rows.class_names[j] for j in order if sets[i, j])
        case = Case(
            **told,
            classes=rows.class_names,
            p=tuple(round(float(value), 6) for value in p[i]),
            predicted=rows.class_names[best[i]],
            confidence=round(float(p[i, best[i]]), 6),
            set=inside,
            need=round(float(costs[i]), 9),
            raw={
                "text": rows.class_names[own[i]],
                "confidence": round(float(raw[i]), 6),
                "scores": [float(value) for value in rows.logits[i].tolist()],
                "kind": rows.kind,
            },
            reference=rows.class_names[rows.labels[i]] if rows.labelled else None,
        )
        cases.append(judged(case, policy, limits, evidence, None if ood is None else ood[i]))
    about = (made.model, calibrator_id, evidence, limits, made.title, tuple(notes))
    return Source(cases, rows.class_names, made.root, *about, None if sets is None else alpha)


def _confidences(test: Rows, val: Rows | None, asked: _Asked, made: _Made) -> Source:
    """Of a table with one confidence per row."""
    rows, held = test.data, None if val is None else val.data
    assert isinstance(rows, Confidences)
    if held is not None and not isinstance(held, Confidences):
        raise DataError("the held-out rows have scores of classes, the cases one confidence each")
    notes: list[str] = []
    shown, checked, calibrator_id = _calibrated(asked.calibrator, rows, held, notes)
    evidence = _evidence(checked, val, asked.columns)
    limits = thresholds(asked.policy, checked, None)
    cases = []
    for i, told in enumerate(_told(test, asked.columns, made.root)):
        confidence = round(float(shown.confidence[i]), 6)
        case = Case(
            **told,
            predicted="right",
            classes=("right", "wrong"),
            p=(confidence, 1 - confidence),
            confidence=confidence,
            need=1 - confidence,
            raw={"confidence": float(rows.confidence[i])},
            reference="right" if rows.correct[i] else "wrong",
        )
        cases.append(judged(case, asked.policy, limits, evidence))
    about = (made.model, calibrator_id, evidence, limits, made.title, tuple(notes))
    return Source(cases, ("right", "wrong"), made.root, *about)


def _told(test: Rows, columns: Columns, root: Path | None) -> Iterator[dict[str, Any]]:
    """What is known of each row beside its scores."""
    rows = test.data
    files, asked, sites = (_column(test, name) for name in columns)
    for i, name in enumerate(rows.ids.tolist()):
        image = name if files is None else str(files[i])
        yield {
            "id": name,
            "group": name if rows.groups is None else str(rows.groups[i]),
            "image": image_references(image, root, named=files is not None),
            "question": "" if asked is None else str(asked[i]),
            "site": "" if sites is None else str(sites[i]),
        }


def _evidence(checked: Confidences | None, val: Rows | None, columns: Columns) -> Evidence:
    """Of the held-out rows, where there are any."""
    if checked is None:
        return Evidence()
    return Evidence.of(checked, None if val is None else _column(val, columns.site))


@contextmanager
def _noted(notes: list[str]) -> Iterator[None]:
    """What is warned of inside is a note for the reader of the review, once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    notes += dict.fromkeys(str(each.message) for each in caught)


def _refuse_unfitted(held: object, option: str, name: object) -> None:
    """Refuse a method by name where no rows are held out.

    Raises:
        SpecError: There are none.
    """
    if held is None:
        verb = "calibrate" if option == "--calibrator" else "conformal"
        raise SpecError(
            f"{option} {name}: nothing to fit it on; name labelled rows with --held-out, or a file of "
            f"`vlmcal {verb} fit`"
        )


def _calibrated(
    calibrator: str | Path | None, rows: Any, held: Any, notes: list[str]
) -> tuple[Any, Any, str]:
    """Calibrated rows, held-out rows whose confidences did not see their outcomes, the calibrator's id."""
    if calibrator is None or calibrator == UNCALIBRATED:
        return rows, held, UNCALIBRATED
    with _noted(notes):
        if Path(calibrator).suffix == ".json":
            fitted = Calibrator.load(calibrator)
            checked = None if held is None else fitted.transform(held)
        else:
            _refuse_unfitted(held, "--calibrator", calibrator)
            fitted = make(str(calibrator))
            checked = cross_fit(fitted, held, folds=FOLDS)
            fitted.fit(held)
        shown = fitted.transform(rows)
    return shown, checked, f"{fitted.name} ({digest(fitted.to_dict())[:12]})"


def _sets(
    conformal: str | None,
    alpha: float,
    rows: Predictions,
    held: Predictions | None,
    notes: list[str],
) -> tuple[Any, float]:
    """(N, K) bool, or None; and their target."""
    if conformal is None:
        return None, alpha
    with _noted(notes):
        if Path(conformal).suffix == ".json":
            predictor = ConformalPredictor.load(conformal)
        else:
            _refuse_unfitted(held, "--conformal", conformal)
            assert held is not None
            if reason := too_few(len(held), alpha):
                raise DataError(f"--conformal {conformal}: {reason}")
            predictor = build(CONFORMAL, conformal).fit(held, alpha)
        sets = predictor.predict(rows).sets
    return sets, predictor.alpha_


def _column(rows: Rows, name: str | None) -> StrArray | None:
    return None if name is None else rows.strata[name]
