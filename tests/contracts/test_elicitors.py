"""What every registered elicitor promises, checked for every registered elicitor."""

import hashlib
import json
import math
from dataclasses import fields, replace

import pytest

from vlmcal.elicit.base import ELICITORS, make_elicitor, parse_elicitors, play
from vlmcal.errors import SpecError
from vlmcal.types.chat import Alternative, Response, Token
from vlmcal.types.form import FormField
from vlmcal.types.question import Question
from vlmcal.types.reading import Reading, Signal

NAMES = ELICITORS.names()
# Options that make another conversation or another reading than the default ones.
VARIANTS = (
    "verbalized(style=unit), verbalized(style=ten), verbalized(style=words), verbalized(cot=True), "
    "verbalized(punish=True), top_k(k=2, normalise=True), top_k(style=unit), option_logits(normalise=False), "
    "sequence_likelihood(reduce=sum), sequence_likelihood(reduce=min), p_true(normalise=False), "
    "token_entropy(reduce=max), "
    "self_probe(style=words), expert(mode=logprob), consistency(aggregate=avg_conf), consistency(samples=1), "
    "semantic_entropy(weight=likelihood), semantic_entropy(cluster=entailment), paraphrase(source=model), "
    "paraphrase(samples=5), hint(samples=8), image_ablation(image=foil), vase(samples=2)"
)
ELICITED = [make_elicitor(name) for name in NAMES] + parse_elicitors(VARIANTS)
QUESTIONS = {
    "yes_no": Question(
        id="q1",
        question="Is there an effusion?",
        images=("a.png",),
        answer_type="yes_no",
        paraphrases=("Can an effusion be seen?",),
        foil=("b.png",),
    ),
    "choice": Question(
        id="q2",
        question="Which side is it on?",
        images=("a.png", "c.png"),
        answer_type="choice",
        options=("left", "right", "both"),
        foil=("b.png",),
    ),
    "open": Question(id="q3", question="Which organ is shown?", images=("a.png",), foil=("b.png",)),
    "field": Question(
        id="q5:mass",
        question="Mass?",
        images=("a.png",),
        answer_type="yes_no",
        form=(FormField("mass", "yes_no").to_text(), FormField("side", "text").to_text()),
        field="mass",
        foil=("b.png",),
    ),
    "no_image": Question(id="q4", question="Is water wet?", answer_type="yes_no"),
}
ANSWERS = {
    "yes_no": ("yes", "no"),
    "choice": ("A. left", "B", "C. both"),
    "open": ("liver", "the spleen", "left kidney"),
}
PHRASES = ("Almost certain", "About even", "Unlikely")


def shape(request):
    """The replies that a co-operative model may give to a request, told by its words."""
    text = request.messages[-1].text
    form = "yes_no" if "yes or no" in text else "choice" if "\nA. " in text else "open"
    stated = PHRASES if "one of: " in text else ("80%", "55%", "30%")
    if "Fill in this form" in text:
        return [f'{{"mass": {{"value": {v}, "confidence": "80%"}}}}' for v in ("true", "false")]
    if "P1: " in text:
        lines = [f"G{n}: {a}\nP{n}: {60 - 20 * n}%" for n, a in enumerate(ANSWERS[form], 1)]
        return ["\n".join(lines), "\n".join(lines[:2])]
    if "numbered list" in text:
        return ["1. Is it to be seen?\n2. Does one see it?\n3. Can it be seen?"]
    if "True or False" in text:
        return ["True", "False"]
    if "Proposed answer" in text:
        return [f"Confidence: {s}" for s in stated]
    if "\nConfidence: " in text:
        return [f"Answer: {a}\nConfidence: {s}" for a in ANSWERS[form] for s in stated]
    if form == "choice" and "\nA. left" not in text:
        return ["A", "B", "C"]  # the options in another order
    return list(ANSWERS[form])


def tokens_of(text):
    # One token per word and piece of punctuation, each with itself and the usual words beside it.
    pieces = [
        word if i == 0 else f" {word}" for i, word in enumerate(text.replace(".", " .").split())
    ]
    others = ("Yes", " no", "A", " B", "(C)", "True", "false")
    made = []
    for piece in [*pieces, "<|im_end|>"]:
        top = [Alternative(piece, math.log(0.5))]
        top += [Alternative(o, math.log(0.05)) for o in others if o != piece]
        made.append(Token(piece, math.log(0.5), tuple(top)))
    return tuple(made)


def content(request):
    return json.dumps(
        [
            [[m.role, m.text, [[i.path, i.edit] for i in m.images]] for m in request.messages],
            [request.temperature, request.max_tokens, request.logprobs, request.sample],
        ]
    )


def various(request):
    """One of the co-operative replies, by the request alone."""
    choices = shape(request)
    picked = int(hashlib.sha256(content(request).encode()).hexdigest(), 16) % len(choices)
    return reply(choices[picked], request)


def reply(text, request):
    # The tokens are there only where they were asked for.
    return Response(text=text, tokens=None if request.logprobs is None else tokens_of(text))


def troubled(request):
    """Co-operative, but for two in three of the requests after the plain one."""
    number = int(hashlib.sha256(content(request).encode()).hexdigest(), 16)
    plain = request.temperature == 0 and "only." in request.messages[-1].text
    if plain and number % 2:
        return various(request)
    worlds = [various, WORLDS["empty"], WORLDS["failed"], WORLDS["garbage"], WORLDS["refused"]]
    return worlds[number % 5](request)


def without_alternatives(request):
    response = various(request)
    if response.tokens is None:
        return response
    return replace(response, tokens=tuple(replace(token, top=()) for token in response.tokens))


WORLDS = {
    "first": lambda request: reply(shape(request)[0], request),
    "last": lambda request: reply(shape(request)[-1], request),
    "various": various,
    "troubled": troubled,
    "no_logprobs": lambda request: replace(various(request), tokens=None),
    "no_alternatives": without_alternatives,
    "empty_tokens": lambda request: replace(various(request), tokens=()),
    "refused": lambda request: reply("I'm sorry, but I can't help with that.", request),
    "filtered": lambda request: Response(status="filtered", error="content filter"),
    "empty": lambda request: reply("", request),
    "garbage": lambda request: reply('yes no (A) (B) 120% {"answer": [', request),
    "failed": lambda request: Response(status="failed", error="time-out"),
}
SILENT = ("refused", "filtered", "empty", "failed")


def in_worlds(*worlds):
    pairs = [(elicitor, world) for elicitor in ELICITED for world in worlds or WORLDS]
    ids = [f"{elicitor.label}-{world}" for elicitor, world in pairs]
    return pytest.mark.parametrize(("elicitor", "world"), pairs, ids=ids)


def suited(elicitor):
    return [question for question in QUESTIONS.values() if not elicitor.skips(question)]


def run(elicitor, question, world):
    asked = []

    def answer(request):
        asked.append(request)
        return WORLDS[world](request)

    return play(elicitor.plan(question), answer), asked


@in_worlds()
def test_every_conversation_ends_in_a_valid_reading(elicitor, world):
    for question in suited(elicitor):
        reading, asked = run(elicitor, question, world)
        assert isinstance(reading, Reading)
        check_values(elicitor, question, reading)
        assert Reading.from_dict(json.loads(json.dumps(reading.to_dict()))) == reading
        assert 1 <= len(asked) <= elicitor.calls(question)
        assert {request.speaker for request in asked} <= set(elicitor.speakers)
        keys = [(request.speaker, request.key("model", lambda path: path)) for request in asked]
        assert len(set(keys)) == len(keys)


def check_values(elicitor, question, reading):
    assert reading.confidence is None or 0 <= reading.confidence <= 1
    if question.answer_type == "yes_no":
        assert reading.answer in (None, "yes", "no")
    if question.answer_type == "choice":
        assert reading.answer in (None, *question.options)
    for name, value in reading.signals.items():
        signal = elicitor.signals[name]
        assert math.isfinite(value), name
        assert signal.low is None or value >= signal.low, name
        assert signal.high is None or value <= signal.high, name


@in_worlds("various", "troubled")
def test_the_same_question_makes_the_same_requests(elicitor, world):
    again = type(elicitor)(**{f.name: getattr(elicitor, f.name) for f in fields(elicitor)})
    for question in suited(elicitor):
        assert run(elicitor, question, world) == run(again, question, world)


@in_worlds("first")
def test_a_cooperative_model_gives_an_answer_and_a_confidence(elicitor, world):
    for question in suited(elicitor):
        reading, _ = run(elicitor, question, world)
        assert reading.status == "answered", reading
        assert reading.confidence_status == "given", reading
        # An expert that is asked for a number has no token to look at.
        left_out = {"captured_mass"} if elicitor.label == "expert" else set()
        assert set(reading.signals) == set(elicitor.signals) - left_out


@in_worlds(*SILENT)
def test_silence_is_a_state_and_never_an_answer(elicitor, world):
    for question in suited(elicitor):
        reading, asked = run(elicitor, question, world)
        first = next(elicitor.plan(question))
        assert reading.status == ("refused" if world == "filtered" else world)
        assert reading.answer is None
        assert reading.confidence is None
        assert reading.confidence_status == ("failed" if world == "failed" else "missing")
        # Nothing more is asked about an answer that is not there.
        assert asked == list(first)


@in_worlds("no_logprobs", "no_alternatives", "empty_tokens")
def test_without_log_probabilities_there_is_no_confidence_from_them(elicitor, world):
    for question in suited(elicitor):
        reading, asked = run(elicitor, question, world)
        wanted = any(request.logprobs is not None for request in asked)
        if elicitor.needs_logprobs and reading.answer is not None and world != "no_alternatives":
            assert reading.confidence_status == "unsupported"
        if not elicitor.needs_logprobs and elicitor.label != "expert(mode=logprob)":
            assert not wanted


@pytest.mark.parametrize("elicitor", ELICITED, ids=lambda e: e.label)
def test_label_makes_the_same_elicitor(elicitor):
    (made,) = parse_elicitors(elicitor.label)
    assert made == elicitor
    assert made.label == elicitor.label


@pytest.mark.parametrize("name", NAMES)
def test_declarations(name):
    kind = ELICITORS.get(name)
    assert kind.name == name
    assert kind.__module__ == f"vlmcal.elicit.elicitors.{name}"
    for signal in kind.signals.values():
        assert isinstance(signal, Signal)
        assert signal.meaning.endswith(".")
        assert signal.low is None or signal.high is None or signal.low < signal.high
    doc = kind.__doc__
    assert "Source:" in doc
    assert ">>>" in doc
    assert "arXiv" in doc
    for option in fields(kind):
        assert f"{option.name}: " in doc or f", {option.name}: " in doc, option.name


@pytest.mark.parametrize("name", NAMES)
def test_options_are_checked(name):
    with pytest.raises(SpecError, match=name):
        make_elicitor(name, {"no_such_option": 1})
    for option in fields(ELICITORS.get(name)):
        if option.name in ("samples", "k"):
            with pytest.raises(SpecError, match=option.name):
                make_elicitor(name, {option.name: 0})
        if option.name == "temperature":
            with pytest.raises(SpecError, match="temperature"):
                make_elicitor(name, {"temperature": 0})


def test_the_plain_answer_is_asked_once():
    asked = {}
    asking = [make_elicitor(name) for name in NAMES]
    for elicitor in [each for each in asking if not each.skips(QUESTIONS["yes_no"])]:
        for request in run(elicitor, QUESTIONS["yes_no"], "first")[1]:
            asked.setdefault(request.key("model", lambda path: path), []).append(elicitor.name)
    plain = [names for names in asked.values() if "consistency" in names and "paraphrase" in names]
    assert len(plain) == 1
    assert {"self_probe", "p_true", "expert", "perturbation", "hint", "vase"} <= set(plain[0])
    shared = ["option_logits", "pmi", "sequence_likelihood", "token_entropy"]
    assert shared in asked.values()
    assert ["image_ablation", "verbalized"] in asked.values()


def test_no_request_mirrors_an_image_or_turns_one_where_the_side_matters():
    for elicitor in ELICITED:
        for question in suited(elicitor):
            for request in run(elicitor, question, "first")[1]:
                edits = " ".join(i.edit for m in request.messages for i in m.images)
                assert "flip" not in edits
                assert not (question.side_matters and ("rotate" in edits or "shift" in edits))


def test_a_hallucination_signal_is_there_and_higher_is_worse():
    for name in ("perturbation", "semantic_entropy"):
        signal = ELICITORS.get(name).signals["hallucination"]
        assert (signal.low, signal.high, signal.higher_is_better) == (0.0, 1.0, False)
