"""Two folders of answers side by side."""

import json

import numpy as np


def table(n, seed, *, right, start=0, text="Is finding {i} there?"):
    generator = np.random.default_rng(seed)
    lines = ["id,image,question,kind,answer,gold,stated"]
    for i in range(start, start + n):
        correct = generator.random() < right
        stated = generator.integers(60, 100)
        kind = "CT" if i % 3 else "MR"
        asked = text.format(i=i)
        lines.append(f"q{i},{i // 2}.png,{asked},{kind},{'yes' if correct else 'no'},yes,{stated}")
    return "\n".join(lines) + "\n"


def folder(vlmcal, path, content):
    source = path.with_suffix(".csv")
    source.write_text(content)
    made = vlmcal(
        *("vqa", "import", source, "--confidence", "stated", "--scale", "percent", "-o", path)
    )
    assert made.code == 0, made.err
    return path


def test_a_worse_model_on_the_same_questions(vlmcal, tmp_path):
    old = folder(vlmcal, tmp_path / "old", table(200, 1, right=0.9))
    new = folder(vlmcal, tmp_path / "new", table(200, 2, right=0.6, start=20))
    out, page = tmp_path / "c.json", tmp_path / "c.html"
    done = vlmcal(
        *(
            "vqa",
            "compare",
            old,
            new,
            "--by",
            "kind",
            "--resamples",
            200,
            "-o",
            out,
            "--report",
            page,
        )
    )
    assert done.code == 0, done.err
    found = json.loads(out.read_text())
    by_name = {each["name"]: each for each in found["differences"]}
    accuracy = by_name["accuracy"]
    assert accuracy["change"] == accuracy["new"] - accuracy["old"]
    assert accuracy["low"] < accuracy["change"] < accuracy["high"] < 0
    assert accuracy["n"] == found["both"] == found["usable"] == 180
    assert set(by_name) >= {"ece", "mean confidence", "left to a human", "top_label_brier"}
    assert len(found["only_old"]) == len(found["only_new"]) == 20
    assert set(found["kinds"]) == {"CT", "MR"}
    assert found["paired"] is True
    wrong = [c for c in found["changed"] if c["old_right"] and not c["new_right"]]
    assert f"{len(wrong)} became wrong" in done.out
    assert "accuracy fell from" in done.out
    assert "20 questions are in the old folder only" in done.out
    text = page.read_text()
    assert "Answers that changed" in text
    assert "Questions of the new folder only" in text


def test_the_same_folder_twice_changes_nothing(vlmcal, tmp_path):
    old = folder(vlmcal, tmp_path / "old", table(60, 1, right=0.8))
    done = vlmcal("vqa", "compare", old, old, "--resamples", 100)
    assert done.code == 0, done.err
    assert "No difference that chance does not explain." in done.out
    assert "Of 60 questions in both, 0 have another answer or verdict" in done.out


def test_other_questions_are_compared_as_independent_samples(vlmcal, tmp_path):
    old = folder(vlmcal, tmp_path / "old", table(150, 1, right=0.95))
    new = folder(vlmcal, tmp_path / "new", table(150, 2, right=0.5, text="Is there another {i}?"))
    done = vlmcal("vqa", "compare", old, new, "--resamples", 200, "--json", "-")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["paired"] is False
    assert found["both"] == 0
    accuracy = found["differences"][0]
    assert accuracy["high"] < -0.2
    assert "another question in the new folder" in done.err
    assert "independent" in done.err


def test_what_cannot_be_compared_is_told(vlmcal, tmp_path, refused):
    old = folder(vlmcal, tmp_path / "old", table(30, 1, right=0.8))
    refused("vqa", "compare", old, old, "-e", "states", words=['"states"', "stated"])
    refused("vqa", "compare", old, tmp_path / "none", words=["none"])
    refused("vqa", "compare", old, old, "--target-risk", 2, words=["--target-risk"])
