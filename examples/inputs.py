"""Write the small files that help texts, pages and notebooks use: ``python examples/inputs.py FOLDER``.

Everything is generated, with a fixed seed, except the handwritten digits that come with scikit-learn. The
truth is known: the model of ``validation.csv`` and ``test.csv`` is too sure, that of ``other.csv`` is not.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy.special import expit, softmax

from vlmcal.data import load_dataset

CLASSES = ("nevus", "melanoma", "keratosis")
TOO_SURE = 2.2
DIGITS = ("zero", "one", "two", "three")
GRID = """\
# Two methods and two seeds on the digits in the box.
data: {name: digits, protocol: base-to-new}
method: [zero_shot, coop]
objective: [ce, [ce, tcpt]]
shots: 4
seed: 1..2
train: {epochs: 3}
evaluate: {calibrators: [none, temperature]}
"""
LOG = """\
** Config **
DATASET:
  NAME: OxfordPets
  NUM_SHOTS: 16
SEED: 1
TRAINER:
  NAME: CoOp
Evaluate on the *test* set
=> result
* total: 3,669
* correct: 3,250
* accuracy: 88.6%
* macro_f1: 88.4%
ECE: 5.31%
"""


def predictions(folder: Path) -> None:
    """Skin lesions of patients, with the probabilities of three classes by two models."""
    for name, seed, n in (("validation", 1, 500), ("test", 2, 800)):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=(n, 3)) * 1.4 + np.log([0.6, 0.25, 0.15])
        label = (z + rng.gumbel(size=z.shape)).argmax(axis=1)
        about = {
            "diagnosis": np.array(CLASSES)[label],
            "patient": [f"{name[0].upper()}{i // 2:03}" for i in range(n)],
            "sex": rng.choice(["f", "m"], n),
        }
        models = {name: TOO_SURE * z}
        if name == "test":
            models["other"] = 0.9 * z + rng.normal(size=z.shape) * 0.5
        for model, logits in models.items():
            scores = pd.DataFrame(softmax(logits, axis=1).round(6), columns=list(CLASSES))
            pd.concat([pd.DataFrame(about), scores], axis=1).to_csv(
                folder / f"{model}.csv", index=False
            )
    shown = pd.read_csv(folder / "test.csv")
    shown.to_csv(folder / "predictions.csv", index=False)
    shown[list(CLASSES)].to_csv(folder / "unlabelled.csv", index=False)
    shown["diagnosis"].head(120).to_csv(folder / "outcomes.csv", index_label="id")


def risks(folder: Path) -> None:
    """The risk of sepsis of patients at two wards, and what happened."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=900) * 1.3 - 1
    pd.DataFrame(
        {
            "patient": [f"P{i:03}" for i in range(900)],
            "ward": rng.choice(["surgery", "medicine"], 900),
            "risk": expit(2.2 * x).round(9),
            "sepsis": (rng.random(900) < expit(x)).astype(int),
        }
    ).to_csv(folder / "hospital.csv", index=False)
    confidence = rng.choice([0.6, 0.7, 0.8, 0.9, 0.95], 400)
    right = (rng.random(400) < confidence - 0.15).astype(int)
    pd.DataFrame({"confidence": confidence, "correct": right}).to_csv(
        folder / "stream.csv", index=False
    )
    age = rng.normal(60, 12, 800)
    treated = (rng.random(800) < expit((age - 60) / 10)).astype(int)
    weight = rng.normal(75, 10, 800)
    outcome = treated + 0.05 * age + 0.01 * weight + rng.normal(size=800)
    pd.DataFrame({"age": age, "weight": weight, "treated": treated, "outcome": outcome}).round(
        3
    ).to_csv(folder / "treatments.csv", index=False)


def images(folder: Path) -> None:
    """Handwritten digits as class folders, as a table of findings, and one alone."""
    digits = load_dataset("digits")
    counts = dict.fromkeys(DIGITS, 0)
    rows = []
    (folder / "chest").mkdir()
    for at, code in enumerate(digits.labels):
        name = digits.class_names[code]
        if name in counts and counts[name] < 30:
            file = folder / "my_images" / name / f"{counts[name]:02}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            _save(digits.images[at], file)
            counts[name] += 1
        if at < 80:
            file = folder / "chest" / f"{at:02}.png"
            _save(digits.images[at], file)
            row = {"image": f"chest/{at:02}.png", "split": ("val", "test")[at % 2]}
            rows.append(row | {"even": int(code % 2 == 0), "large": int(code > 4)})
    _save(digits.images[-1], folder / "new_image.png")
    pd.DataFrame(rows).to_csv(folder / "chest.csv", index=False)


def answers(folder: Path) -> None:
    """Questions about pictures, replies of a scripted model, and a table of answers from elsewhere."""
    rng = np.random.default_rng(4)
    questions, rules, table = [], [], []
    (folder / "pictures").mkdir()
    for i in range(80):
        picture = f"pictures/{i // 2:02}.png"
        _save(rng.integers(0, 255, (16, 16), dtype=np.uint8), folder / picture)
        said, stated = rng.choice(["yes", "no"]), int(rng.choice([60, 70, 80, 90, 100]))
        right = rng.random() < 0.35 + 0.5 * stated / 100
        gold = said if right else {"yes": "no", "no": "yes"}[said]
        kind = ("presence", "size")[i % 2]
        text = f"Is finding {i:03} there?"
        row = {"id": f"q{i:03}", "image": picture, "question": text, "answer": gold, "kind": kind}
        questions.append(row)
        reply = f"Answer: {said}\nConfidence: {stated}%"
        rules.append({"contains": [text, "Confidence:"], "reply": reply})
        rules.append({"contains": text, "reply": str(said)})
        table.append(
            {"id": row["id"], "question": text, "answer": said, "gold": gold, "stated": stated}
        )
    rules.append({"reply": "yes"})
    pd.DataFrame(questions).to_csv(folder / "questions.csv", index=False)
    pd.DataFrame(table).to_csv(folder / "table.csv", index=False)
    script = "".join(json.dumps(rule) + "\n" for rule in rules)
    (folder / "replies.jsonl").write_text(script)


def others(folder: Path) -> None:
    """An experiment, and the log of a trainer of the CoOp family."""
    (folder / "grid.yaml").write_text(GRID)
    (folder / "output" / "shots_16" / "seed1").mkdir(parents=True)
    (folder / "output" / "shots_16" / "seed1" / "log.txt").write_text(LOG)


def _save(pixels: np.ndarray, file: Path) -> None:
    Image.fromarray(np.asarray(pixels, dtype=np.uint8)).save(file)


def write(folder: Path) -> Path:
    """All of them, into a folder that is made where it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    for part in (predictions, risks, images, answers, others):
        part(folder)
    return folder


if __name__ == "__main__":
    print(f"written: {write(Path(sys.argv[1] if sys.argv[1:] else 'inputs'))}")
