"""``vlmcal vqa``: what a user types, from questions to a report, and what is refused."""

import csv
import json
import shlex

import numpy as np
import pytest
from PIL import Image

from vlmcal.elicit.response_log import ResponseLog

SCRIPT = [
    {"contains": ["finding 1", "Confidence:"], "reply": "Answer: yes\nConfidence: 95%"},
    {"contains": ["finding 2", "Confidence:"], "reply": "Answer: no\nConfidence: 60%"},
    {"contains": ["finding 3", "Confidence:"], "reply": "I'm sorry, but I can't help with that."},
    {"contains": ["finding 4", "Confidence:"], "reply": "Answer: maybe\nConfidence: 10%"},
    {"contains": ["finding 5", "Confidence:"], "reply": ""},
    {"contains": ["Confidence:"], "reply": "Answer: yes"},
    {"reply": "yes"},
]


@pytest.fixture
def asked(tmp_path):
    """Six questions about three images, and a script that answers them."""
    rows = [["id", "image", "question", "answer", "kind"]]
    for i in range(1, 7):
        name = f"{(i - 1) // 2}.png"
        Image.new("L", (8, 8), 40 * i).save(tmp_path / name)
        rows.append([str(i), name, f"Is finding {i} there?", "yes", "PRES" if i < 4 else "SIZE"])
    with (tmp_path / "q.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    script = tmp_path / "script.jsonl"
    script.write_text("".join(json.dumps(rule) + "\n" for rule in SCRIPT))
    return tmp_path


def elicit(vlmcal, asked, *more, ways="verbalized"):
    script = f"scripted:{asked / 'script.jsonl'}"
    return vlmcal(
        *("vqa", "elicit", asked / "q.csv", "--model", script, "-e", ways),
        *("-o", asked / "answers", *more),
    )


def read(folder):
    return [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]


def test_elicit_counts_every_state_and_makes_nothing_up(vlmcal, asked):
    result = elicit(vlmcal, asked)
    assert result.code == 0, result.err
    rows = read(asked / "answers")
    assert [r["status"] for r in rows] == [
        *("answered", "answered", "refused", "unparsed", "empty", "answered"),
    ]
    assert [r.get("confidence") for r in rows][:2] == [0.95, 0.6]
    assert rows[5]["confidence_status"] == "missing"
    assert [r.get("correct") for r in rows] == [True, False, None, None, None, True]
    cells = result.out.splitlines()[2].split()
    assert cells[:7] == ["verbalized", "6", "50.0", "16.7", "16.7", "16.7", "0.0"]
    assert json.loads((asked / "answers" / "run.json").read_text())["complete"] is True


def test_a_dry_run_counts_calls_and_sends_none(vlmcal, asked):
    result = elicit(vlmcal, asked, "--dry-run", "--samples", "4", ways="verbalized,consistency")
    assert "at most 36 calls about 3 images" in result.out  # 6 + 6 x (1 + 4 samples)
    assert not (asked / "answers").exists()


def test_the_same_command_again_asks_nothing(vlmcal, asked):
    elicit(vlmcal, asked)
    log = (asked / "answers" / "responses.jsonl").read_bytes()
    again = elicit(vlmcal, asked)
    assert "6 responses are there already" in again.err
    assert (asked / "answers" / "responses.jsonl").read_bytes() == log


def test_a_budget_is_kept_and_can_be_raised(vlmcal, asked, refused):
    script = f"scripted:{asked / 'script.jsonl'}"
    command = ["vqa", "elicit", asked / "q.csv", "--model", script, "-o", asked / "answers"]
    refused(*command, "--max-requests", 2, words=["2 requests", "2 answers are in", "goes on"])
    assert len(read(asked / "answers")) == 2
    assert vlmcal(*command).code == 0
    assert len(read(asked / "answers")) == 6
    assert len((asked / "answers" / "responses.jsonl").read_text().splitlines()) == 6


def test_what_cannot_work_is_refused_before_anything_is_asked(asked, refused):
    script = f"scripted:{asked / 'script.jsonl'}"
    base = ["vqa", "elicit", asked / "q.csv", "-o", asked / "answers"]
    refused(*base, "--model", "gpt-4o", words=["http(s)://", "hf:", "gpt-4o"])
    refused(*base, "--model", script, "-e", "verbalised", words=['did you mean "verbalized"'])
    refused(
        *(*base, "--model", script, "-e", "consistency(sample=3)"),
        words=["no option", 'did you mean "samples"'],
    )
    refused(*base, "--model", script, "-e", "verbalized(style=loud)", words=["style", "loud"])
    refused(*base, "--model", script, "-e", "interrogate", words=["--expert"])
    refused(*base, "--model", script, "--judge", "exakt", words=['did you mean "exact"'])
    refused(*base, "--model", script, "--limit", 0, words=["--limit", "at least 1"])
    refused(*base, "--model", f"scripted:{asked}/no.jsonl", words=["no such file"])
    (asked / "1.png").unlink()
    refused(*base, "--model", script, words=["1.png", "image"])
    assert not (asked / "answers" / "responses.jsonl").exists()


def table(path, n=240, seed=0):
    """Over-confident answers: right with probability c - 0.2, three to an image."""
    rng = np.random.default_rng(seed)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["answer", "gold", "stated", "image", "kind", "logp", "model"])
        for i in range(n):
            c = round(float(rng.uniform(0.5, 1.0)), 2)
            right = rng.random() < c - 0.2
            stated = "" if i % 40 == 7 else f"{100 * c:g}%"
            answer = "" if i % 60 == 11 else "Yes" if right else "No."
            writer.writerow(
                [answer, "yes", stated, f"{i // 3}.png", "ab"[i % 2], round(np.log(c), 4), "m"]
            )
    return path


def test_import_evaluate_and_the_report(vlmcal, tmp_path):
    source = table(tmp_path / "t.csv")
    result = vlmcal(
        *("vqa", "import", source, "--confidence", "stated", "--logprob", "logp"),
        *("--scale", "percent", "-o", tmp_path / "a"),
    )
    assert result.code == 0, result.err
    page, numbers = tmp_path / "r.html", tmp_path / "r.json"
    result = vlmcal(
        *("vqa", "evaluate", tmp_path / "a", "-o", page, "--json", numbers, "--by", "kind"),
        *("--resamples", 50, "--target-risk", 0.3),
    )
    assert result.code == 0, result.err
    found = json.loads(numbers.read_text())
    assert found["stated"]["asked"] == 240
    assert found["stated"]["answers"] == {"answered": 236, "empty": 4}
    # Worked out from the file itself, without the library.
    rows = list(csv.DictReader(source.open()))
    used = [r for r in rows if r["answer"] and r["stated"]]
    share = np.mean([r["answer"] == "Yes" for r in used])
    assert found["stated"]["parsed"]["estimates"]["accuracy"]["value"] == pytest.approx(share)
    told = found["stated"]["questions"]
    assert len(told) == 240
    assert {r["action"] for r in told if r["status"] == "empty"} == {"ask a human"}
    everything = np.mean([r["answer"] == "Yes" for r in rows])
    assert found["stated"]["all"]["estimates"]["accuracy"]["value"] == pytest.approx(everything)
    brier = np.mean([(float(r["stated"][:-1]) / 100 - (r["answer"] == "Yes")) ** 2 for r in used])
    assert found["stated"]["parsed"]["estimates"]["top_label_brier"]["value"] == pytest.approx(
        brier
    )
    text = page.read_text()
    for words in (
        "Confidently wrong",
        "ask a human",
        "similar",
        "too sure",
        "cross-fitted",
        "All rows",
        "and so for a human: 10 questions.",
    ):
        assert words in text
    assert "parsed rows" in result.out


def test_calibrate_mends_the_ece_out_of_fold(vlmcal, tmp_path):
    assert vlmcal("vqa", "import", table(tmp_path / "t.csv"), "--confidence", "stated",
                  "--scale", "percent", "-o", tmp_path / "a").code == 0  # fmt: skip
    out = tmp_path / "c.csv"
    result = vlmcal("vqa", "calibrate", tmp_path / "a", "-m", "platt", "-o", out, "--resamples", 20)
    assert result.code == 0, result.err
    lines = list(csv.DictReader(out.open()))
    assert [r["id"] for r in lines] == [str(i) for i in range(1, 241)]
    rows = [r for r in lines if r["probability"]]
    assert len(rows) == 240 - 6 - 4
    without = [r for r in lines if not r["probability"]]
    assert {r["action"] for r in without} == {"ask a human"}
    assert {r["status"] for r in without} == {"answered", "empty"}
    stated = np.array([float(r["stated"]) for r in rows])
    mended = np.array([float(r["probability"]) for r in rows])
    right = np.array([r["correct"] == "True" for r in rows])
    assert abs(mended.mean() - right.mean()) < 0.03
    assert stated.mean() - right.mean() > 0.1
    assert all(float(r["low"]) <= float(r["probability"]) <= float(r["high"]) for r in rows)
    assert {r["action"] for r in rows} <= {"rely", "ask a human"}


def test_calibrate_on_other_images_and_never_on_the_same(vlmcal, tmp_path, refused):
    for name, seed in (("a", 0), ("b", 1)):
        source = table(tmp_path / f"{name}.csv", seed=seed)
        if name == "b":
            source.write_text(source.read_text().replace(".png", ".jpg"))
        vlmcal("vqa", "import", source, "--confidence", "stated", "--scale", "percent",
               "-o", tmp_path / name)  # fmt: skip
    refused(
        *("vqa", "calibrate", tmp_path / "a", "-m", "platt", "--test", tmp_path / "a"),
        words=["images", "are in both folders"],
    )
    refused("vqa", "calibrate", tmp_path / "a", "--test", tmp_path / "b", words=["one --method"])
    refused("vqa", "calibrate", tmp_path / "a", "-m", "hac_platt", words=["hallucination"])
    refused("vqa", "calibrate", tmp_path / "a", "-m", "plat", words=['did you mean "platt"'])


def test_import_never_guesses(tmp_path, refused):
    source = table(tmp_path / "t.csv")
    base = ["vqa", "import", source, "-o", tmp_path / "a"]
    refused(*base, "--confidence", "stated", words=["--scale", "never guessed"])
    refused(*base, "--confidence", "state", "--scale", "unit", words=['did you mean "stated"'])
    refused(*base, "--gold", "god", words=['no column "god"', 'did you mean "gold"'])
    refused(*base, "--where", "model=n", words=['no row with model="n"', "valid: m"])
    refused(*base, "--scale", "percents", words=['did you mean "percent"'])
    source.write_text("answer,gold,stated\nyes,yes,140\n")
    refused(
        *base, "--confidence", "stated", "--scale", "percent", words=["140", "percent", "t.csv"]
    )
    refused("vqa", "evaluate", tmp_path / "nowhere", words=["vqa elicit"])


def imported(vlmcal, folder, text, *more, name="t.csv", out="a"):
    (folder / name).write_text(text)
    return vlmcal(
        *("vqa", "import", folder / name, "--confidence", "stated", "--scale", "percent"),
        *("-o", folder / out, *more),
    )


def test_two_models_of_one_table_never_mix_in_one_folder(vlmcal, tmp_path, refused):
    rows = [f"A,{i},yes,yes,90\n" for i in range(6)] + [f"B,{i},no,yes,80\n" for i in range(3)]
    text = "model,id,answer,gold,stated\n" + "".join(rows)
    assert imported(vlmcal, tmp_path, text, "--where", "model=A").code == 0
    refused(
        *("vqa", "import", tmp_path / "t.csv", "--where", "model=B", "--confidence", "stated"),
        *("--scale", "percent", "-o", tmp_path / "a"),
        words=["model=A", "not of", "model=B", "-o"],
    )
    assert [r["correct"] for r in read(tmp_path / "a")] == [True] * 6


def test_a_corrected_table_takes_the_place_of_what_it_said_before(vlmcal, tmp_path):
    head = "id,answer,gold,stated\n"
    imported(vlmcal, tmp_path, head + "1,yes,yes,90\n2,no,yes,80\n3,no,no,70\n")
    again = imported(vlmcal, tmp_path, head + "1,yes,no,90\n2,no,yes,80\n")
    assert again.code == 0, again.err
    assert "replaced" in again.err
    assert [(r["question"], r["correct"]) for r in read(tmp_path / "a")] == [
        ("1", False),
        ("2", False),
    ]


def test_no_confidence_without_an_answer(vlmcal, tmp_path):
    imported(vlmcal, tmp_path, "answer,gold,stated\nyes,yes,90\n,yes,80\nhm maybe,yes,70\n")
    rows = read(tmp_path / "a")
    assert [r["status"] for r in rows] == ["answered", "empty", "unparsed"]
    assert [r.get("confidence") for r in rows] == [0.9, None, None]


def test_the_same_image_is_the_same_group_from_any_folder(vlmcal, tmp_path, refused, monkeypatch):
    Image.new("L", (8, 8)).save(tmp_path / "1.png")
    text = "id,image,answer,gold,stated\n" + "".join(
        f"{i},{i % 4}.png,yes,{'yes' if i % 3 else 'no'},{50 + i}\n" for i in range(20)
    )
    assert imported(vlmcal, tmp_path, text, out="a").code == 0
    monkeypatch.chdir(tmp_path)
    assert vlmcal("vqa", "import", "t.csv", "--confidence", "stated", "--scale", "percent",
                  "-o", "b").code == 0  # fmt: skip
    refused("vqa", "calibrate", "a", "-m", "platt", "--test", "b", words=["4 images", "0.png"])


def test_a_table_with_semicolons_says_so(tmp_path, refused):
    (tmp_path / "t.csv").write_text("answer;gold;stated\nja;ja;90,5\n")
    refused(
        "vqa", "import", tmp_path / "t.csv", "-o", tmp_path / "a", words=["semicolons", "comma"]
    )


def test_an_answers_folder_is_found_from_anywhere(vlmcal, asked, monkeypatch):
    script = f"scripted:{asked / 'script.jsonl'}"
    monkeypatch.chdir(asked)
    command = ["vqa", "elicit", "--model", script, "-o", asked / "answers"]
    assert vlmcal(*command, "q.csv").code == 0
    (asked / "elsewhere").mkdir()
    monkeypatch.chdir(asked / "elsewhere")
    again = vlmcal(*command, "../q.csv")
    assert "6 responses are there already" in again.err
    page = asked / "r.html"
    assert vlmcal("vqa", "evaluate", asked / "answers", "-o", page, "--resamples", 0).code == 0
    assert page.read_text().count("data:image/jpeg") == 1  # one wrong answer
    assert "not there" not in page.read_text()
    (asked / "0.png").unlink()
    vlmcal("vqa", "evaluate", asked / "answers", "-o", page, "--resamples", 0)
    assert "1 image is not there" in page.read_text()


def test_a_trial_of_a_few_questions_is_gone_on_with(vlmcal, asked):
    assert elicit(vlmcal, asked, "--limit", "2").code == 0
    whole = elicit(vlmcal, asked, ways="verbalized, self_probe")
    assert whole.code == 0, whole.err
    about = json.loads((asked / "answers" / "run.json").read_text())
    lines = (asked / "answers" / "responses.jsonl").read_text().splitlines()
    assert about["calls"] == len(lines)
    assert about["elicitors"] == ["verbalized", "self_probe"]


def test_why_answers_failed_is_told(vlmcal, asked):
    (asked / "script.jsonl").write_text(
        '{"contains": ["finding 1"], "reply": "Answer: yes, Confidence: 90%"}\n'
    )
    result = elicit(vlmcal, asked)
    assert result.code == 0
    assert "1 answers failed: script.jsonl has no reply for" in result.err
    assert "2 more reasons" in result.err
    assert "asks again" in result.err


def test_the_file_of_calibrated_answers_is_of_the_map_that_was_asked_for(vlmcal, tmp_path, refused):
    # One kind is nearly always right, the other nearly always wrong, with the same confidences.
    text = "image,kind,answer,gold,stated\n" + "".join(
        f"{i // 2}.png,{'ab'[i % 2]},{'yes' if (i % 2 == 0) != (i % 14 < 2) else 'no'},yes,{60 + i % 31}\n"
        for i in range(240)
    )
    assert imported(vlmcal, tmp_path, text).code == 0
    out = tmp_path / "c.csv"
    base = ["vqa", "calibrate", tmp_path / "a", "--by", "kind", "-m", "platt"]
    done = vlmcal(*base, "--per-kind", "--folds", 3, "-o", out, "--resamples", 20)
    assert done.code == 0, done.err
    rows = list(csv.DictReader(out.open()))
    for kind, share in (("a", 6 / 7), ("b", 1 / 7)):
        of_kind = rows[kind == "b" :: 2]
        assert all(float(r["low"]) <= float(r["probability"]) <= float(r["high"]) for r in of_kind)
        assert np.mean([float(r["probability"]) for r in of_kind]) == pytest.approx(share, abs=0.05)
    assert {r["action"] for r in rows[1::2]} == {"ask a human"}
    vlmcal(*base, "-o", out, "--resamples", 0)
    assert {r["low"] for r in csv.DictReader(out.open())} == {""}
    refused(*base, "--per-kind", "--test", tmp_path / "a", words=["--per-kind"])
    refused(*base, "--per-kind", "--folds", 130, words=['kind "a"', "120 rows", "one map for all"])
    refused(*base, "--resamples", -5, words=["--resamples", "-5"])
    refused("vqa", "evaluate", tmp_path / "a", "--resamples", -5, words=["--resamples", "-5"])


def test_other_answers_are_measured_as_asked_for(vlmcal, tmp_path):
    for name, ending in (("a", ".png"), ("b", ".jpg")):
        source = table(tmp_path / f"{name}.csv")
        source.write_text(source.read_text().replace(".png", ending))
        vlmcal("vqa", "import", source, "--confidence", "stated", "--scale", "percent",
               "-o", tmp_path / name)  # fmt: skip
    result = vlmcal(
        *("vqa", "calibrate", tmp_path / "a", "-m", "platt", "--test", tmp_path / "b"),
        *("--metrics", "ece", "--level", 0.5, "--resamples", 30),
    )
    assert result.code == 0, result.err
    assert "50 % interval" in result.out
    out = tmp_path / "c.csv"
    vlmcal("vqa", "calibrate", tmp_path / "a", "-m", "platt", "--test", tmp_path / "b", "-o", out,
           "--resamples", 0)  # fmt: skip
    assert [r["id"] for r in csv.DictReader(out.open())][:2] == ["1", "2"]
    assert "AUROC" not in result.out


def test_a_page_is_readable_with_very_long_questions(vlmcal, tmp_path):
    long = "very " * 4000
    text = "question,answer,gold,stated\n" + f"Is it {long} large?,yes,no,90\n" * 3
    imported(vlmcal, tmp_path, text)
    result = vlmcal("vqa", "evaluate", tmp_path / "a", "-o", tmp_path / "r.html", "--resamples", 0)
    assert "use fewer folds" in result.err
    assert (tmp_path / "r.html").read_text().count("very very") < 3 * 100
    again = vlmcal("vqa", "evaluate", tmp_path / "a", "--folds", 2, "--resamples", 0)
    assert "use fewer folds" not in again.err


def test_what_is_left_out_is_told_at_the_terminal(vlmcal, tmp_path):
    imported(vlmcal, tmp_path, "answer,gold,stated\nyes,yes,90\nno,,80\n")
    result = vlmcal("vqa", "evaluate", tmp_path / "a", "--resamples", 0)
    assert "1 questions have no gold answer" in result.err


def test_a_second_process_changes_nothing_in_the_folder_of_the_first(vlmcal, asked):
    elicit(vlmcal, asked, "--limit", "2")
    before = {p.name: p.read_bytes() for p in (asked / "answers").iterdir()}
    with ResponseLog(asked / "answers" / "responses.jsonl"):
        result = elicit(vlmcal, asked)
        assert result.code == 2
        assert "another process is writing here" in result.err
    assert {p.name: p.read_bytes() for p in (asked / "answers").iterdir()} == before


def test_a_scale_that_does_not_seem_to_fit_is_told(vlmcal, tmp_path):
    text = "answer,gold,stated\nyes,yes,8\nno,yes,10\n"
    assert "--scale percent" in imported(vlmcal, tmp_path, text).err
    fits = imported(vlmcal, tmp_path, text.replace("10", "11"))
    assert "--scale" not in fits.err


def test_fusion_takes_signals_by_name_and_not_by_place(vlmcal, tmp_path, refused):
    rng = np.random.default_rng(0)

    def folder(name, columns):
        # One signal is high for right answers, the other one for wrong ones.
        lines = [",".join(["image", "answer", "gold", "base", *columns])]
        for i in range(120):
            right = bool(rng.random() < 0.6)
            noise = rng.uniform(-9, 9, 2).round(1)
            value = {"up": 80 * right + 10 + noise[0], "down": 90 - 80 * right + noise[1]}
            value["flat"] = 50.0
            lines.append(
                f"{i}.{name},{'yes' if right else 'no'},yes,{70 + i % 9},"
                + ",".join(f"{value[c]:.1f}" for c in columns)
            )
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
        more = [x for c in ("base", *columns) for x in ("--confidence", c)]
        assert vlmcal("vqa", "import", tmp_path / f"{name}.csv", *more, "--scale", "percent",
                      "-o", tmp_path / name).code == 0  # fmt: skip
        return tmp_path / name

    fit = folder("png", ["up", "down"])
    base = ["vqa", "calibrate", fit, "-m", "fusion", "--metrics", "auroc", "--resamples", 0]
    done = vlmcal(*base, "--test", folder("jpg", ["down", "flat", "up"]))
    assert done.code == 0, done.err
    last = next(line for line in done.out.splitlines() if line.startswith("fusion"))
    assert float(last.split()[-1].rstrip("*")) > 95
    refused(*base, "--test", folder("gif", ["down", "flat"]), words=['signal "up"', "same"])


def test_a_map_on_a_hallucination_score_is_not_applied_to_another_score(vlmcal, asked, refused):
    (asked / "script.jsonl").write_text(
        '{"contains": ["Confidence:"], "reply": "Answer: yes\\nConfidence: 90%"}\n{"reply": "yes"}\n'
    )
    script = f"scripted:{asked / 'script.jsonl'}"
    other = asked / "other"
    other.mkdir()
    text = (asked / "q.csv").read_text()
    for i in range(3):
        Image.new("L", (8, 8), 9 * i).save(other / f"{i + 7}.png")
        text = text.replace(f",{i}.png", f",{i + 7}.png")
    (other / "q.csv").write_text(text)
    elicit(vlmcal, asked, ways="verbalized, perturbation(samples=2)")
    vlmcal("vqa", "elicit", other / "q.csv", "--model", script, "-o", other / "answers",
           "-e", "verbalized, semantic_entropy")  # fmt: skip
    refused(
        *("vqa", "calibrate", asked / "answers", "-m", "hac_platt", "--test", other / "answers"),
        words=["perturbation(samples=2)", "semantic_entropy", "same"],
    )


def test_a_map_is_applied_to_new_answers_without_verdicts(vlmcal, tmp_path):
    """What a clinic does with a fitted map: probabilities and advice for questions that nobody has judged."""
    assert vlmcal("vqa", "import", table(tmp_path / "t.csv", n=600), "--confidence", "stated",
                  "--scale", "percent", "-o", tmp_path / "a").code == 0  # fmt: skip
    fresh = tmp_path / "new.csv"
    fresh.write_text("answer,gold,stated,image\nyes,,95,x1.png\nno,,60,x2.png\nno,,,x3.png\n")
    assert vlmcal("vqa", "import", fresh, "--confidence", "stated", "--scale", "percent",
                  "-o", tmp_path / "b").code == 0  # fmt: skip
    out = tmp_path / "c.csv"
    result = vlmcal("vqa", "calibrate", tmp_path / "a", "-m", "platt", "--test", tmp_path / "b",
                    "-o", out, "--target-risk", 0.4)  # fmt: skip
    assert result.code == 0, result.err
    assert "2 answers have no verdict and are not measured" in result.err
    rows = list(csv.DictReader(out.open()))
    assert [r["stated"] for r in rows] == ["0.95", "0.6", ""]
    assert [r["correct"] for r in rows] == ["", "", ""]
    assert float(rows[0]["low"]) < float(rows[0]["probability"]) < float(rows[0]["high"])
    assert int(rows[0]["similar_n"]) >= 50
    assert 0.6 < float(rows[0]["similar_right"]) < 0.95
    assert rows[2]["probability"] == rows[2]["low"] == rows[2]["similar_n"] == ""
    # The table's answers are right with probability c - 0.2.
    assert float(rows[0]["probability"]) == pytest.approx(0.75, abs=0.08)
    assert float(rows[1]["probability"]) == pytest.approx(0.40, abs=0.08)
    assert [r["action"] for r in rows] == ["rely", "ask a human", "ask a human"]


def test_when_every_answer_failed_the_exit_code_says_so(asked, refused):
    (asked / "script.jsonl").write_text('{"contains": ["nothing of this kind"], "reply": "yes"}\n')
    script = f"scripted:{asked / 'script.jsonl'}"
    refused(
        *("vqa", "elicit", asked / "q.csv", "--model", script, "-o", asked / "answers"),
        words=["all 6 answers failed"],
    )


def test_elicitors_may_be_named_together_or_one_by_one(vlmcal, asked):
    script = f"scripted:{asked / 'script.jsonl'}"
    result = vlmcal(
        *("vqa", "elicit", asked / "q.csv", "--model", script, "-o", asked / "answers"),
        *("-e", "verbalized, self_probe", "-e", "hint(samples=2)", "--limit", 1),
    )
    assert result.code == 0, result.err
    assert "6 questions" in result.err
    assert [r["elicitor"] for r in read(asked / "answers")] == [
        "verbalized",
        "self_probe",
        "hint(samples=2)",
    ]


def test_several_names_may_be_repeated_or_stand_with_commas(vlmcal, tmp_path, refused):
    source = table(tmp_path / "t.csv", 60)
    rows = source.read_text().splitlines()
    source.write_text(
        "\n".join([rows[0] + ",second", *(f"{row},{5 + i % 90}" for i, row in enumerate(rows[1:]))])
    )
    a, b = tmp_path / "a", tmp_path / "b"
    base = ("vqa", "import", source, "--scale", "percent", "-o")
    assert vlmcal(*base, a, "--confidence", "stated,second").code == 0
    assert vlmcal(*base, b, "--confidence", "stated", "--confidence", "second").code == 0
    shown = [
        vlmcal("vqa", "evaluate", folder, "-e", "stated, second", "--resamples", 0).out
        for folder in (a, b)
    ]
    assert shown[0] == shown[1]
    assert "second" in shown[0]
    both = vlmcal(
        "vqa", "calibrate", a, "-e", "stated", "-e", "second", "-m", "platt,beta", "--resamples", 0
    )
    assert both.out.count("\nstated\n") == both.out.count("\nsecond\n") == 1
    assert all(name in both.out for name in ("\nplatt ", "\nbeta "))
    assert "\nsecond\n" in both.out
    one = ("-m", "histogram(bins=ten)")
    refused("vqa", "calibrate", a, *one, words=["histogram", "a whole number", "'ten'"])


def test_import_from_other_programs_and_judge_anew(vlmcal, tmp_path, refused):
    """The commands of docs/mllm.md for answers of one's own and for judging."""
    reply = {"choices": [{"message": {"content": "It lies on the right side."}}]}
    (tmp_path / "out.jsonl").write_text(
        "".join(
            json.dumps({"custom_id": f"q{i}", "response": {"status_code": 200, "body": reply}})
            + "\n"
            for i in range(24)
        )
    )
    gold = "".join(f"q{i},{'right' if i % 2 else 'left'}\n" for i in range(24))
    (tmp_path / "gold.csv").write_text(f"id,gold\n{gold}")
    folder = tmp_path / "answers"
    result = vlmcal(
        *("vqa", "import", tmp_path / "out.jsonl", "--join", tmp_path / "gold.csv"),
        *("--answer", "response.body.choices.0.message.content", "--on", "custom_id=id"),
        *("-o", folder),
    )
    assert result.code == 0, result.err
    assert "vqa judge" in result.err
    assert [r["correct"] for r in read(folder)] == [False] * 24
    judged = vlmcal("vqa", "judge", folder)
    assert "12 of 24 verdicts are other ones" in judged.err
    (tmp_path / "labels.csv").write_text("id,correct\nq1,true\nq2,false\nq3,true\n")
    told = vlmcal("vqa", "judge", folder, "--labels", tmp_path / "labels.csv")
    assert "imported: 50.0 % right, corrected for the judge" in told.out
    assert "0 of 24 verdicts" in told.err
    refused("vqa", "judge", folder, "--judge", "containd", words=['did you mean "contained"'])
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "answers.jsonl").write_text("mine")
    refused(
        *("vqa", "import", tmp_path / "out.jsonl", "-o", tmp_path / "mine"),
        words=["holds other files", "nothing was written"],
    )


def test_fields_of_every_request_and_more_room(vlmcal, asked, refused):
    result = elicit(vlmcal, asked, "--reply-tokens", "500", "--again", "empty,cut")
    assert result.code == 0, result.err
    refused(
        *("vqa", "elicit", asked / "q.csv", "--model", f"scripted:{asked / 'script.jsonl'}"),
        *("-o", asked / "b", "--again", "emty"),
        words=['did you mean "empty"'],
    )


def test_answers_are_divided_by_a_column_of_another_table(vlmcal, tmp_path, refused):
    source = tmp_path / "t.csv"
    lines = [f"{i},{'yes' if i % 3 else 'no'},yes,{60 + i % 40}" for i in range(80)]
    source.write_text("id,answer,gold,stated\n" + "\n".join(lines) + "\n")
    folder = tmp_path / "a"
    made = vlmcal(
        *("vqa", "import", source, "--confidence", "stated", "--scale", "percent", "-o", folder)
    )
    assert made.code == 0, made.err
    organs = tmp_path / "organs.csv"
    rows = "\n".join(f"{i},{'lung' if i % 2 else 'heart'}" for i in range(80))
    organs.write_text(f"id,organ\n{rows}\n")
    base = ("vqa", "evaluate", folder, "--resamples", 0, "--table", organs)
    result = vlmcal(*base, "--by", "organ")
    assert result.code == 0, result.err
    assert "lung" in result.out
    assert "heart" in result.out
    refused(*base, "--by", "organs", words=['no column "organs"', 'did you mean "organ"'])
    organs.write_text("id,organ\n1,lung\n")
    refused(*base, "--by", "organ", words=["no row for 79 questions"])


def test_what_remains_to_do_is_told_and_the_commands_do_it(vlmcal, asked):
    first = [{"contains": ["finding 1", "Confidence:"], "reply": ""}, *SCRIPT[1:]]
    script = asked / "script.jsonl"
    script.write_text("".join(json.dumps(rule) + "\n" for rule in first))
    assert elicit(vlmcal, asked).code == 0
    page = asked / "r.html"
    told = vlmcal("vqa", "evaluate", asked / "answers", "--resamples", 0, "-o", page)
    assert "What remains to do" in page.read_text()
    assert "1 answers cannot be read: read them by hand" in told.out
    (line,) = [line for line in told.out.splitlines() if "replies are empty: " in line]
    assert line.startswith("to do: 2 replies")
    script.write_text("".join(json.dumps(rule) + "\n" for rule in SCRIPT))
    command = shlex.split(line.split("empty: ", 1)[1])
    assert command[0] == "vlmcal"
    again = vlmcal(*command[1:])
    assert again.code == 0, again.err
    told = vlmcal("vqa", "evaluate", asked / "answers", "--resamples", 0)
    assert "1 replies are empty: " in told.out
    assert told.out.count("--again") == 1
