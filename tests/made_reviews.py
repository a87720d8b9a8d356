"""Small reviews with cases of every kind, for tests of the pages and of what a browser shows of them."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from scans import dicom
from vlmcal.review.case import Case
from vlmcal.review.database import Review
from vlmcal.review.evidence import Evidence
from vlmcal.review.policy import Policy
from vlmcal.review.triage import Source, Thresholds
from vlmcal.types.confidences import Confidences

CLASSES = ("benign naevus", "melanoma", "<b>keratosis</b>", "vascular lesion")
MANY = tuple(f"finding {i:03d}" for i in range(300))


def evidence(n=600, seed=0):
    """Local cases whose confidences hold."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.4, 1.0, n)
    return Evidence.of(Confidences(confidence=confidence, correct=rng.random(n) < confidence))


def blob(file: Path, seed: int, size: int = 320) -> Path:
    """A picture of a spot on skin: made, of nobody."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), (224, 178, 150))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y = rng.normal(size / 2, size / 9, 2)
        r = rng.uniform(size / 14, size / 7)
        shade = rng.integers(40, 110)
        draw.ellipse(
            (x - r, y - r, x + r, y + r), fill=(int(shade * 1.3), int(shade), int(shade * 0.8))
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    image.filter(ImageFilter.GaussianBlur(size / 80)).save(file)
    return file


def scan(file: Path, size: int = 160) -> Path:
    """A series of three 12-bit frames with a bright disc."""
    y, x = np.mgrid[:size, :size]
    frames = []
    for radius in (0.2, 0.3, 0.4):
        disc = np.hypot(x - size / 2, y - size / 2) < radius * size
        frames.append(200 + 4 * x + 1500 * disc)
    return dicom(file, np.asarray(frames, dtype=np.uint16))


def cases(folder: Path) -> list[Case]:
    """Nine cases: plain ones, one critical, one without image, a series, many classes, a question."""

    def p(*values):
        return {"classes": CLASSES, "p": values}

    for seed in range(4):
        blob(folder / f"spot{seed}.png", seed)
    scan(folder / "series.dcm")
    return [
        Case(id="lesion-014", image=("spot0.png",), predicted="melanoma", confidence=0.56, low=0.41,
             high=0.68, set=("melanoma", "benign naevus"), reasons=("r1", "r2", "r3"), need=0.9,
             flags=("critical",), site="clinic A", raw={"confidence": 0.91}, group="patient-3",
             **p(0.38, 0.56, 0.04, 0.02)),
        Case(id="lesion-007", image=("spot1.png",), predicted="benign naevus", confidence=0.83, low=0.75,
             high=0.9, set=("benign naevus",), reasons=("r1",), need=0.17, site="clinic B",
             raw={"confidence": 0.97}, **p(0.83, 0.05, 0.07, 0.05)),
        Case(id="lesion-021", image=("spot2.png",), predicted="<b>keratosis</b>", confidence=0.62,
             set=(), reasons=("r2",), need=0.38, raw={"confidence": 0.7}, **p(0.2, 0.1, 0.62, 0.08)),
        Case(id="lesion-030", image=("spot3.png",), predicted="vascular lesion", confidence=0.3, set=CLASSES,
             reasons=("r1", "r2"), need=0.7, **p(0.25, 0.2, 0.25, 0.3)),
        Case(id="<script>alert(1)</script>", image=("../outside.png",), predicted="melanoma",
             confidence=0.5, reasons=("r1",), need=0.5, **p(0.4, 0.5, 0.05, 0.05)),
        Case(id="a/b?c=d&e", image=("absent.png",), predicted="melanoma", confidence=0.5, reasons=("r1",),
             need=0.45, **p(0.4, 0.5, 0.05, 0.05)),
        Case(id="series-1", image=("series.dcm",), predicted="benign naevus", confidence=0.7,
             reasons=("r1",), need=0.3, **p(0.7, 0.1, 0.1, 0.1)),
        Case(id="many-1", image=("spot0.png", "spot1.png"), classes=MANY, predicted="finding 123",
             confidence=0.6, need=0.4, question="Which finding is it?"),
        Case(id="asked-1", question='Is there <img src=x onerror="alert(1)"> an effusion?',
             predicted="yes, on the left", confidence=0.6, need=0.35,
             raw={"text": "Answer: yes, on the left\nConfidence: 95", "confidence": 0.95}),
    ]  # fmt: skip


def review(folder: Path, policy: Policy | None = None, only: tuple[str, ...] = ()) -> Review:
    """A review in ``folder``; with ``only`` of these cases."""
    images = folder / "images"
    found = [case for case in cases(images) if not only or case.id in only]
    Image.new("L", (2, 2)).save(folder / "outside.png")
    source = Source(
        cases=found,
        classes=CLASSES,
        root=images,
        model_id="made",
        evidence=evidence(),
        thresholds=Thresholds(0.9, None, "a person is asked below the stated confidence 0.9"),
        title="Made skin lesions",
    )
    chosen = policy or Policy(threshold=0.9, blind_share=0.0, critical=("melanoma",))
    return Review.create(folder / "review.sqlite", source, chosen)
