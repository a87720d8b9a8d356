"""What asking costs, in the plan, at the end, in run.json and on the report."""

import json

import pytest

from vlmcal.elicit import ask
from vlmcal.elicit.asking import question_set, ways_of
from vlmcal.elicit.costs import from_plain, load_prices, planned, price_of, spent
from vlmcal.elicit.models.scripted import ScriptedModel
from vlmcal.errors import DataError
from vlmcal.types.chat import Response
from vlmcal.types.question import Question

POLAR = [Question(id=str(i), question=f"Is it {i}?", answer_type="yes_no") for i in range(3)]


def model():
    return ScriptedModel(
        lambda request: Response(
            text="Answer: no\nConfidence: 80",
            prompt_tokens=1000,
            completion_tokens=300,
            reasoning_tokens=200,
            seconds=0.5,
        )
    )


def table(tmp_path, text):
    path = tmp_path / "prices.csv"
    path.write_text(text)
    return path


def test_costs_of_a_run_are_those_that_the_server_counts(tmp_path):
    prices = table(tmp_path, "model,in,out,thinking,currency\nscripted*,2,10,5,EUR\n")
    asked = ask(
        POLAR,
        model=model(),
        elicitors="verbalized, self_probe",
        folder=tmp_path / "a",
        prices=prices,
    )
    stated, probed = asked.about["costs"]
    assert (stated["elicitor"], stated["calls"], stated["seconds"]) == ("verbalized", 3, 1.5)
    assert (stated["tokens_in"], stated["tokens_out"], stated["tokens_thinking"]) == (
        3000,
        900,
        600,
    )
    # 3000 in at 2, 300 spoken at 10, 600 thought at 5, per million.
    assert stated["price"] == pytest.approx((3000 * 2 + 300 * 10 + 600 * 5) / 1e6)
    assert (probed["calls"], probed["currency"]) == (6, "EUR")
    # Asked again, nothing is paid twice.
    ask(POLAR, model=model(), elicitors="verbalized", folder=tmp_path / "a", prices=prices)
    assert json.loads((tmp_path / "a" / "run.json").read_text())["costs"] == asked.about["costs"]
    assert [c.price for c in spent(tmp_path / "a" / "responses.jsonl", asked.answers)] == [
        None,
        None,
    ]


def test_second_models_and_cached_tokens_have_prices_of_their_own(tmp_path):
    prices = tmp_path / "prices.yaml"
    prices.write_text(
        "currency: EUR\nscripted*: {in: 2, out: 10, cached: 0.5}\n'*judge*': {in: 4, out: 8}\n"
    )
    found = load_prices(prices)
    said = Response(text="lung", prompt_tokens=1000, completion_tokens=10, cached_tokens=600)
    verdict = Response(text="yes", prompt_tokens=100, completion_tokens=1)
    places = [Question(id=str(i), question=f"Where {i}?", gold=("lung",)) for i in range(2)]
    judge = ScriptedModel(lambda request: verdict)
    judge.identity = "openai:judge@h/v1"
    asked = ask(
        places, model=ScriptedModel(lambda request: said), judge=judge, folder=tmp_path / "a", prices=prices
    )  # fmt: skip
    subject, second = from_plain(asked.about["costs"])
    assert (subject.speaker, subject.calls, subject.tokens_in, subject.tokens_cached) == (
        "subject",
        2,
        2000,
        1200,
    )
    assert subject.price == pytest.approx((800 * 2 + 1200 * 0.5 + 20 * 10) / 1e6)
    assert (second.speaker, second.calls, second.currency) == ("judge", 2, "EUR")
    assert second.price == pytest.approx((200 * 4 + 2 * 8) / 1e6)
    assert [p.model for p in found] == ["scripted*", "*judge*"]
    plan, _ = planned(
        question_set(places), ways_of("verbalized, expert", None), judged=True,
        log=tmp_path / "a" / "responses.jsonl",
    )  # fmt: skip
    assert [(c.elicitor, c.speaker, c.calls, c.tokens_in) for c in plan[:3]] == [
        ("verbalized", "subject", 2, 2000), ("verbalized", "judge", 2, 200), ("expert", "subject", 2, 2000),
    ]  # fmt: skip
    assert (plan[3].speaker, plan[3].calls, plan[3].seconds) == ("expert", 2, None)
    assert from_plain(
        [
            {
                k: v
                for k, v in asked.about["costs"][0].items()
                if k not in ("speaker", "tokens_cached")
            }
        ]
    )


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("qwen: 3\n", "qwen"),
        ("qwen: {in: 1}\n", '"out" is missing'),
        ("qwen: {in: 1, out: 2, cach: 1}\n", "cached"),
        ("[]\n", "expected lines"),
        ("a: {in: 1, out: 2}\na: {in: 1, out: 3}\n", "prices.yaml"),
        ("a: [", "prices.yaml"),
    ],
)
def test_yaml_that_is_no_table_of_prices_is_refused(tmp_path, text, word):
    (tmp_path / "prices.yaml").write_text(text)
    with pytest.raises(DataError, match=word):
        load_prices(tmp_path / "prices.yaml")


def test_a_plan_goes_by_recorded_calls_where_there_are_some(tmp_path):
    ways, questions = ways_of("verbalized, consistency(samples=4)", None), question_set(POLAR)
    (first, second), assumed = planned(questions, ways)
    assert (first.calls, second.calls, first.seconds) == (3, 15, None)
    assert first.tokens_out == 3 * 96
    assert "assumed" in assumed
    ask(POLAR, model=model(), folder=tmp_path / "a")
    (first, second), assumed = planned(questions, ways, log=tmp_path / "a" / "responses.jsonl")
    assert (first.tokens_in, second.tokens_out, first.seconds) == (3000, 4500, 1.5)
    assert "3 recorded calls" in assumed


def test_the_first_line_that_fits_is_the_price(tmp_path):
    prices = load_prices(table(tmp_path, "model,in,out\nqwen-vl,1,2\nqwen*,3,4\n"))
    assert [price_of(f"openai:{n}@h/v1", prices).sent for n in ("qwen-vl", "qwen2")] == [1.0, 3.0]
    assert price_of("openai:other@h/v1", prices) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("model,in,out\nm,1,cheap\n", "cheap"),
        ("model,in\nm,1\n", '"out" is missing'),
        ("model,in,out,thinkin\nm,1,1,1\n", "thinking"),
        ("model,in,out\nm,-1,1\n", "-1"),
        ("model,in,out\nm,nan,1\n", "nan"),
    ],
)
def test_a_table_of_prices_that_is_none_is_refused_before_anything_is_asked(tmp_path, text, word):
    with pytest.raises(DataError, match=word):
        ask(POLAR, model="http://localhost:1/v1", prices=table(tmp_path, text))
