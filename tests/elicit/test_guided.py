"""Guided choice: found by a probe, used for closed questions without log-probabilities, and for no others."""

import pytest

from elicit.fault_server import FaultServer, Manner
from vlmcal.elicit import ask
from vlmcal.elicit.models.load import load_chat_model
from vlmcal.errors import SpecError
from vlmcal.types.question import Question

QUESTIONS = [
    Question(id="1", question="Is it large?", answer_type="yes_no"),
    Question(id="2", question="Which?", answer_type="choice", options=("cyst", "mass", "none")),
    Question(id="3", question="Where?"),
]
WAYS = "consistency(samples=2), option_logits, verbalized"


@pytest.fixture
def asked():
    def run(manner, **options):
        with FaultServer(manner=manner) as server:
            given = {"loading": {"guided": True}, "names": {"subject": "tiny-vlm"}} | options
            return ask(QUESTIONS, model=server.url, elicitors=WAYS, **given), server.bodies

    return run


@pytest.mark.parametrize("guide", ["structured_outputs", "guided_choice"])
def test_closed_questions_without_log_probabilities_are_guided(asked, guide):
    made, bodies = asked(Manner(guide=guide))
    guided = [b for b in bodies if guide in b][1:]  # without the probe
    told = [b[guide]["choice"] if guide == "structured_outputs" else b[guide] for b in guided]
    assert sorted(map(tuple, told)) == sorted(
        [("yes", "no", "Yes", "No")] * 3 + [("A", "B", "C")] * 3
    )
    assert not any("logprobs" in b for b in guided)
    assert all(a.reading.answer in ("cyst", "mass", "none") for a in made.answers if a.question == "2"
               and a.elicitor.startswith("consistency"))  # fmt: skip
    assert made.about["model"].endswith("#guided=true")
    (note,) = made.about["capabilities"]["subject"]["notes"]
    assert guide in note
    assert "log-probabilities" in note


@pytest.mark.parametrize("refuses", [(), ("structured_outputs", "guided_choice")])
def test_a_server_that_ignores_or_refuses_them_is_asked_without(asked, refuses):
    made, bodies = asked(Manner(refuses=refuses))
    assert sum("guided_choice" in b or "structured_outputs" in b for b in bodies) == 2
    assert made.about["capabilities"]["subject"]["notes"] == [
        "it has no guided choice: questions are asked without it"
    ]


def test_nothing_is_guided_by_itself_and_cached_tokens_are_noted(asked):
    made, bodies = asked(Manner(guide="guided_choice", cached=7), loading={})
    assert not any("guided_choice" in b or "structured_outputs" in b for b in bodies)
    assert "#" not in made.about["model"]
    assert any("prefix caching" in n for n in made.about["capabilities"]["subject"]["notes"])


def test_other_models_have_no_guided_choice():
    with pytest.raises(SpecError, match="--guided"):
        load_chat_model("ollama:m", guided=True)
