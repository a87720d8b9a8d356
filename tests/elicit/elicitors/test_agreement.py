"""Agreement between answers: shares and entropies, worked out by hand."""

import math

import pytest

from vlmcal.elicit.base import make_elicitor, play
from vlmcal.elicit.clusters import entailment_clusters
from vlmcal.elicit.elicitors.hint import hints
from vlmcal.types.chat import Alternative, Response, Token
from vlmcal.types.question import Question

YES_NO = Question(id="1", question="Is there an effusion?", answer_type="yes_no", images=("a.png",))
SIDE = Question(id="2", question="Side?", answer_type="choice", options=("left", "right", "both"))
OPEN = Question(id="3", question="Which organ?", images=("a.png", "b.png"), foil=("c.png",))
FAILED = Response(status="failed", error="time-out")


def told(name, question, *replies, **options):
    left = iter(replies)
    asked = []

    def answer(request):
        asked.append(request)
        said = next(left)
        return said if isinstance(said, Response) else Response(text=said)

    return play(make_elicitor(name, options).plan(question), answer), asked


@pytest.mark.parametrize("name", ["consistency", "perturbation", "paraphrase", "hint"])
def test_only_readable_answers_count(name):
    replies = ["yes", "Yes.", "no", "", FAILED, "Yes, there is."]
    reading, asked = told(name, YES_NO, *replies, samples=5)
    assert reading.answer == "yes"
    assert reading.confidence == pytest.approx(2 / 3)
    assert reading.signals["agreement"] == pytest.approx(2 / 3)
    assert reading.signals["n_parsed"] == 3
    if name == "perturbation":
        assert reading.signals["hallucination"] == pytest.approx(1 / 3)
    assert len(asked) == 6


@pytest.mark.parametrize("name", ["consistency", "perturbation", "paraphrase", "hint"])
@pytest.mark.parametrize(
    ("replies", "state"),
    [(["", ""], "missing"), ([FAILED, FAILED], "failed"), (["?", FAILED], "unparsed")],
)
def test_without_any_readable_answer_there_is_no_confidence(name, replies, state):
    reading, _ = told(name, YES_NO, "yes", *replies, samples=2)
    assert (reading.answer, reading.confidence) == ("yes", None)
    assert reading.confidence_status == state
    assert dict(reading.signals) == {"n_parsed": 0.0}


def test_open_answers_agree_after_normalisation():
    reading, _ = told(
        "consistency", OPEN, "Liver", "the liver.", "Spleen", "LIVER", "liver", samples=4
    )
    assert reading.confidence == 0.75


def test_draws_differ_in_number_and_temperature_only():
    _, asked = told("consistency", YES_NO, *["yes"] * 4, samples=3, temperature=0.9)
    assert [(r.temperature, r.sample) for r in asked] == [(0.0, 0), (0.9, 1), (0.9, 2), (0.9, 3)]
    assert len({r.messages for r in asked}) == 1


def test_avg_conf_weighs_draws_by_their_confidence():
    draws = ["Answer: yes\nConfidence: 90%", "Answer: no\nConfidence: 60%"]
    draws += ["Answer: yes\nConfidence: 30%", "Answer: no"]
    reading, _ = told("consistency", YES_NO, "yes", *draws, samples=4, aggregate="avg_conf")
    # (0.9 + 0.3) / (0.9 + 0.6 + 0.3); the draw without a number counts for the agreement only.
    assert reading.confidence == pytest.approx(1.2 / 1.8)
    assert reading.signals["agreement"] == pytest.approx(0.5)
    silent = ["Answer: yes\nConfidence: 0%"] * 2
    reading, _ = told("consistency", YES_NO, "yes", *silent, samples=2, aggregate="avg_conf")
    assert reading.confidence_status == "missing"


def test_perturbation_edits_every_image_alike_and_asks_the_same():
    _, asked = told("perturbation", OPEN, *["liver"] * 4, samples=3)
    plain, *edited = (r.messages[-1] for r in asked)
    assert {m.text for m in edited} == {plain.text}
    assert [i.path for i in edited[0].images] == ["a.png", "b.png"]
    edits = [{i.edit for i in m.images} for m in edited]
    assert all(len(each) == 1 for each in edits)
    assert len(set.union(*edits)) == 3


def test_paraphrases_of_the_data_set_come_first():
    own = Question(
        id="1",
        question="Is it?",
        answer_type="yes_no",
        paraphrases=("Was it?", "Is it?", "Was it?", "Has it been?"),
    )
    _, asked = told("paraphrase", own, *["yes"] * 4, samples=3)
    texts = [r.messages[-1].text for r in asked[1:]]
    assert "Question: Was it?" in texts[0]
    assert "Question: Has it been?" in texts[1]
    assert texts[2].count("Is it?") == 1
    assert "Question: Is it?" not in texts[2]


def test_the_model_s_own_paraphrases():
    listed = (
        "Sure:\n1. Can one see an effusion?\n2) Is there an effusion?\n3. Is an effusion present?"
    )
    reading, asked = told(
        "paraphrase", YES_NO, "no", listed, "no", "yes", samples=3, source="model"
    )
    # The second line is the question itself, so two wordings are left.
    assert reading.confidence == 0.5
    assert "Can one see an effusion?" in asked[2].messages[-1].text
    assert asked[1].messages[-1].images == ()
    reading, _ = told("paraphrase", YES_NO, "no", FAILED, samples=3, source="model")
    assert (reading.answer, reading.confidence_status) == ("no", "missing")


def test_hints_name_another_answer():
    for question, answer in [(YES_NO, "yes"), (SIDE, "right")]:
        said = hints(question, answer, 8)
        assert len(set(said)) == 8
        wrong = ["no."] if question is YES_NO else ["A. left.", "C. both."]
        assert all(any(sentence.endswith(w) for w in wrong) for sentence in said)
    assert all('other than "liver"' in sentence for sentence in hints(OPEN, "liver", 8))
    assert hints(YES_NO, "yes", 3) == hints(YES_NO, "yes", 8)[:3]


def entropy_of(*shares):
    return -sum(p * math.log(p) for p in shares)


def test_semantic_entropy_of_counts():
    draws = ["liver", "The liver", "spleen", "kidney", "?", "liver."]
    reading, _ = told("semantic_entropy", OPEN, "liver", *draws, samples=6)
    expected = entropy_of(3 / 5, 1 / 5, 1 / 5)
    assert expected == pytest.approx(0.9502705)
    assert reading.signals["entropy"] == pytest.approx(expected)
    assert reading.confidence == pytest.approx(1 - expected / math.log(5))
    assert reading.signals["hallucination"] == pytest.approx(expected / math.log(5))
    assert (reading.signals["n_clusters"], reading.signals["n_parsed"]) == (3, 5)


@pytest.mark.parametrize(
    ("draws", "expected"), [(["yes"] * 4, 1.0), (["yes", "yes", "no", "no"], 0.0)]
)
def test_semantic_entropy_ends(draws, expected):
    reading, _ = told("semantic_entropy", YES_NO, "yes", *draws, samples=4)
    assert reading.confidence == pytest.approx(expected)


@pytest.mark.parametrize("samples", [2, 50])
def test_semantic_entropy_of_a_coin_does_not_depend_on_the_number_of_draws(samples):
    draws = ["yes", "no"] * (samples // 2)
    reading, _ = told("semantic_entropy", YES_NO, "yes", *draws, samples=samples)
    assert reading.confidence == pytest.approx(0, abs=1e-12)


def test_semantic_entropy_is_zero_confidence_when_no_two_draws_agree():
    draws = ["liver", "lung", "heart"]
    reading, _ = told("semantic_entropy", OPEN, "liver", *draws, samples=3)
    assert reading.confidence == pytest.approx(0, abs=1e-12)


def test_semantic_entropy_by_likelihood():
    def draw(text, *probabilities):
        tokens = [
            Token(t, math.log(p)) for t, p in zip(text.split("|"), probabilities, strict=True)
        ]
        return Response(text=text.replace("|", ""), tokens=(*tokens, Token("</s>", -5.0)))

    draws = [draw("liver", 0.6), draw("left| lung", 0.9, 0.1), draw("liver", 0.3)]
    reading, asked = told("semantic_entropy", OPEN, "liver", *draws, samples=3, weight="likelihood")
    # Weights 0.6, sqrt(0.09) = 0.3 and 0.3: the clusters have 0.75 and 0.25.
    assert reading.signals["entropy"] == pytest.approx(entropy_of(0.75, 0.25))
    assert reading.confidence == pytest.approx(1 - 0.5623351 / math.log(3))
    assert [r.logprobs for r in asked] == [None, 0, 0, 0]
    draws[1] = Response(text="left lung")
    reading, _ = told("semantic_entropy", OPEN, "liver", *draws, samples=3, weight="likelihood")
    assert reading.confidence_status == "unsupported"


def test_clusters_by_entailment_need_both_directions():
    implied = {("cat", "animal"), ("cat", "feline"), ("feline", "cat"), ("feline", "animal")}

    def judge(request):
        lines = request.messages[-1].text.splitlines()
        first, second = (line.split(": ")[1] for line in lines[1:3])
        asked.append((first, second))
        return Response(text="Yes" if (first, second) in implied else "No")

    asked = []
    plan = entailment_clusters(["cat", "animal", "feline", "Cat", "animal"], OPEN)
    assert play(plan, judge) == [0, 1, 0, 0, 1]
    # The third answer is compared with the first member of both clusters, equal answers with none.
    assert len(asked) == len(set(asked)) == 6


def test_an_unreadable_verdict_leaves_no_clusters_unless_the_other_settles_it():
    asked = iter(["?", "no"])
    assert play(entailment_clusters(["a", "b"], OPEN), lambda r: Response(text=next(asked))) == [
        0,
        1,
    ]
    asked = iter(["?", "yes"])
    assert play(entailment_clusters(["a", "b"], OPEN), lambda r: Response(text=next(asked))) is None


def test_vase_amplifies_what_the_image_adds():
    # p = (2/3, 1/3), q = (0, 1): softmax of p + (p - q) = (4/3, -1/3).
    draws = ["yes", "yes", "no", "no", "no", "?"]
    reading, asked = told("vase", YES_NO, "yes", *draws, samples=3)
    top = math.exp(4 / 3) / (math.exp(4 / 3) + math.exp(-1 / 3))
    expected = entropy_of(top, 1 - top)
    assert reading.signals["vase"] == pytest.approx(expected)
    assert reading.signals["hallucination"] == pytest.approx(expected / math.log(5))
    assert reading.confidence == pytest.approx(1 - expected / math.log(5))
    assert [bool(r.messages[-1].images[0].edit) for r in asked] == [False] * 4 + [True] * 3
    same, _ = told("vase", YES_NO, *["yes"] * 7, samples=3)
    assert (same.confidence, same.signals["vase"]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("unseen", "signals"),
    [
        ("Answer: yes\nConfidence: 65%", {"visual_gain": 0.25, "answer_changed": 0.0}),
        ("Answer: yes\nConfidence: 100%", {"visual_gain": -0.1, "answer_changed": 0.0}),
        ("Answer: no\nConfidence: 65%", {"visual_gain": 0.9, "answer_changed": 1.0}),
        ("Answer: yes", {"answer_changed": 0.0}),
        ("I'm sorry, I can't help with that.", {}),
    ],
)
def test_image_ablation_leaves_the_stated_confidence_alone(unseen, signals):
    reading, asked = told("image_ablation", YES_NO, "Answer: yes\nConfidence: 90%", unseen)
    assert (reading.answer, reading.confidence) == ("yes", 0.9)
    assert dict(reading.signals) == pytest.approx(signals)
    assert [i.edit for i in asked[1].messages[-1].images] == ["blank"]


def test_image_ablation_with_a_foil():
    elicitor = make_elicitor("image_ablation", {"image": "foil"})
    assert elicitor.skips(YES_NO) == "the question has no foil image"
    assert elicitor.skips(OPEN) == ""
    _, asked = told("image_ablation", OPEN, "Answer: liver", "Answer: liver", image="foil")
    assert [i.path for i in asked[1].messages[-1].images] == ["c.png"]


@pytest.mark.parametrize(("word", "bound"), [("True", "at most"), ("False", "at least")])
def test_p_true_notes_where_one_of_its_words_was_not_listed(word, bound):
    said = Token(word, math.log(0.9), (Alternative(word, math.log(0.9)),))
    replies = iter([Response(text="yes"), Response(text=word, tokens=(said,))])
    reading = play(make_elicitor("p_true").plan(YES_NO), lambda request: next(replies))
    assert reading.confidence == float(word == "True")
    assert f"P(True) is {bound} this" in reading.note
