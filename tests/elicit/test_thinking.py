"""Models that think inside the reply, servers that tell no log-probabilities, folders of somebody else's."""

import json
import math

import pytest

from elicit.fault_server import FaultServer, Manner
from vlmcal.elicit import ask
from vlmcal.elicit.models.completions import read_completion
from vlmcal.elicit.models.openai_http import openai_chat
from vlmcal.elicit.models.scripted import ScriptedModel
from vlmcal.errors import BackboneError, SpecError, StoreError
from vlmcal.types.chat import Alternative, Response, Token
from vlmcal.types.question import Question

YES = Question(id="1", question="Is it?", answer_type="yes_no", gold=("yes",))
WHERE = Question(id="2", question="Where?", gold=("left lung",))


class Thinker:
    """Thinks for ``thoughts`` tokens before it answers; what does not fit is cut."""

    def __init__(self, thoughts, text="yes"):
        self.thoughts, self.text, self.given = thoughts, text, []

    def __call__(self, request):
        self.given.append(request.max_tokens)
        if request.max_tokens <= self.thoughts:
            return Response(text="", finish_reason="length", reasoning="Let me look")
        return Response(text=self.text, finish_reason="stop")


def test_a_cut_reply_gets_more_room_which_is_remembered(tmp_path):
    model = Thinker(200)
    asked = ask([YES], model=ScriptedModel(model), elicitors="self_probe", folder=tmp_path / "a")
    assert [a.reading.answer for a in asked.answers] == ["yes"]
    assert model.given == [64, 256, 256]  # the second question begins with what was enough
    facts = json.loads((tmp_path / "a" / "run.json").read_text())["capabilities"]["subject"]
    assert facts["room"] == 4
    about = json.loads((tmp_path / "a" / "run.json").read_text())
    assert about["tokens"] == about["tokens_in"] + about["tokens_out"]
    again = Thinker(200)
    ask([YES, WHERE], model=ScriptedModel(again), elicitors="self_probe", folder=tmp_path / "a")
    assert again.given == [256, 256]


def test_room_that_is_given_from_the_start(tmp_path):
    model = Thinker(200)
    ask([YES], model=ScriptedModel(model), elicitors="option_logits", reply_tokens=500)
    assert model.given == [500]


def test_what_stays_cut_is_counted_and_asked_again_with_more_room(tmp_path):
    model = Thinker(5000)
    asked = ask([YES], model=ScriptedModel(model), elicitors="verbalized", folder=tmp_path / "a")
    (answer,) = asked.answers
    assert (answer.reading.status, answer.reading.answer) == ("cut", None)
    assert model.given == [96, 384, 1536]
    assert any("--reply-tokens" in note for note in asked.notes)
    # Nothing is asked again by itself; with more room it is.
    more = ask([YES], model=ScriptedModel(model), elicitors="verbalized", folder=tmp_path / "a")
    assert (more.answers[0].reading.status, len(model.given)) == ("cut", 3)
    wide = Thinker(5000, "Answer: yes\nConfidence: 80")
    found = ask(
        [YES],
        model=ScriptedModel(wide),
        elicitors="verbalized",
        folder=tmp_path / "a",
        reply_tokens=6000,
    )
    assert found.answers[0].reading.confidence == 0.8


def test_a_number_that_touches_the_cut_is_asked_again():
    def cut(request):
        whole = "Answer: left lung\nConfidence: 85"
        room = request.max_tokens > 96
        return Response(
            text=whole if room else whole[:-1], finish_reason="stop" if room else "length"
        )

    asked = ask([WHERE], model=ScriptedModel(cut))
    assert asked.answers[0].reading.confidence == 0.85


def test_a_reply_without_content_is_asked_for_again():
    replies = iter([None, "yes"])

    def answer(request):
        said = next(replies)
        data = {"choices": [{"message": {"content": said}, "finish_reason": "stop"}]}
        return read_completion(data, logprobs=False).response

    asked = ask([YES], model=ScriptedModel(answer), elicitors="option_logits")
    assert asked.answers[0].reading.answer == "yes"


def test_values_of_again_are_checked():
    with pytest.raises(SpecError, match='did you mean "cut"'):
        ask([YES], model=ScriptedModel(lambda r: "yes"), again=["cuts"])


def entry(text, logprob, *top):
    return {
        "token": text,
        "logprob": logprob,
        "bytes": list(text.encode()),
        "top_logprobs": [{"token": t, "logprob": v} for t, v in top],
    }


def completed(content, text="Yes", **message):
    said = {"content": text, **message}
    data = {
        "choices": [{"message": said, "finish_reason": "stop", "logprobs": {"content": content}}]
    }
    return read_completion(data, logprobs=True).response


CHOSEN = entry("Yes", math.log(0.6), ("Yes", math.log(0.6)), ("No", math.log(0.4)))


def confidence(response, way="option_logits"):
    asked = ask([YES], model=ScriptedModel(lambda request: response), elicitors=way)
    return asked.answers[0].reading


def test_a_closing_entry_without_text_is_no_part_of_the_answer():
    end = {"token": "", "logprob": -9999.0, "bytes": [], "top_logprobs": []}
    assert confidence(completed([CHOSEN, end])).confidence == pytest.approx(0.6)


@pytest.mark.parametrize("mark", [[], [entry("</think>", -0.001)], [entry("[/THINK]", -0.001)]])
def test_thinking_tokens_never_count(mark):
    words = [
        entry(w, math.log(0.05), (w, -3.0), (" no", -0.1)) for w in (" Maybe", " yes", ",", " no")
    ]
    tokens = [*words, *mark, entry("\n\n", -0.001), CHOSEN]
    response = completed(tokens, reasoning_content=" Maybe yes, no")
    assert response.reasoning == " Maybe yes, no"
    assert confidence(response).confidence == pytest.approx(0.6)
    assert confidence(response, "sequence_likelihood").confidence == pytest.approx(0.6)


def test_thoughts_inside_the_text_do_not_count_either():
    said = ("<unused94>", "thought", " yes?", "<unused95>", "Yes")
    top = (Alternative("Yes", math.log(0.6)), Alternative("No", math.log(0.4)))
    tokens = tuple(Token(text, math.log(0.6), top) for text in said)
    assert confidence(Response(text="".join(said), tokens=tokens)).confidence == pytest.approx(0.6)


def test_zeros_and_constants_are_no_log_probabilities():
    zero = completed([entry("Yes", 0.0, ("Yes", 0.0), ("No", -9999.0))])
    assert confidence(zero).confidence_status == "unsupported"
    words = ("Answer", ":", " Yes", ",", " there", " is", " one", ".")
    same = [entry(w, -0.5, (w, -0.5)) for w in words]
    said = "Answer: Yes, there is one."
    assert confidence(completed(same, said)).confidence_status == "unsupported"
    few = completed(same[:3], "Answer: Yes")
    assert confidence(few, "sequence_likelihood").confidence == pytest.approx(math.exp(-0.5))
    many = [Question(id=str(i), question=f"Is it {i}?", answer_type="yes_no") for i in range(20)]
    one = ScriptedModel(lambda request: Response(text="Yes", tokens=(Token("Yes", -0.5),)))
    found = ask(many, model=one, elicitors="sequence_likelihood")
    assert {a.reading.confidence_status for a in found.answers} == {"unsupported"}


def test_a_model_without_images_is_told_at_the_probe(tmp_path):
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "x.png")
    seen = Question(
        id="1", question="Is it?", answer_type="yes_no", images=(str(tmp_path / "x.png"),)
    )
    with FaultServer(manner=Manner(refuses=("images",))) as server:
        with pytest.raises(BackboneError, match="takes no images"):
            ask([seen], model=openai_chat(server.url))
        assert len(server.bodies) <= 1
        assert ask([YES], model=openai_chat(server.url)).answers[0].reading.status == "answered"


def test_further_fields_are_sent_and_make_another_model():
    with FaultServer() as server:
        model = openai_chat(server.url, extra={"reasoning_effort": "low"})
        assert model.identity.endswith("#reasoning_effort=low")
        ask([YES], model=model)
        assert server.bodies[-1]["reasoning_effort"] == "low"


def test_a_folder_of_somebody_else_is_left_alone(tmp_path):
    theirs = tmp_path / "questions.jsonl"
    theirs.write_text("mine")
    model = Thinker(0)
    with pytest.raises(StoreError, match="nothing was written"):
        ask([YES], model=ScriptedModel(model), folder=tmp_path)
    assert theirs.read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["questions.jsonl"]
    assert not model.given
    link = tmp_path / "linked"
    link.mkdir()
    (link / "responses.jsonl").symlink_to(theirs)
    with pytest.raises(StoreError, match="is a link"):
        ask([YES], model=ScriptedModel(model), folder=link)


def test_a_folder_that_was_left_before_the_first_question_goes_on(tmp_path):
    (tmp_path / "responses.jsonl").touch()
    asked = ask([YES], model=ScriptedModel(Thinker(0)), elicitors="option_logits", folder=tmp_path)
    assert asked.answers[0].reading.answer == "yes"


def test_tokens_with_the_same_text_add_up():
    top = [
        ("Yes", math.log(0.6)),
        ("No", math.log(0.1)),
        ("No", math.log(0.05)),
        (" No", math.log(0.2)),
    ]
    found = confidence(completed([entry("Yes", math.log(0.6), *top)]))
    assert found.confidence == pytest.approx(0.6 / 0.95)
    listed = [("Yes", math.log(0.6)), ("Yes", math.log(0.6)), ("No", math.log(0.4))]
    assert confidence(
        completed([entry("Yes", math.log(0.6), *listed)])
    ).confidence == pytest.approx(0.6)
