"""Pair-rank: several rankings of guesses, put together by who stands above whom."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np

from vlmcal.elicit.base import ELICITORS, Elicitor, Plan
from vlmcal.elicit.clusters import match_clusters
from vlmcal.elicit.conclude import check_draws, conclude
from vlmcal.elicit.elicitors.top_k import TopK
from vlmcal.elicit.parse.answers import ParsedAnswer
from vlmcal.errors import SpecError
from vlmcal.types.arrays import FloatArray
from vlmcal.types.question import Question
from vlmcal.types.reading import AnswerStatus, Signal

_MOST_STEPS = 10_000
_SMALL = 1e-12
# Where no draw could be read, the state that tells most stands for all of them.
_STATES: tuple[AnswerStatus, ...] = ("unparsed", "cut", "refused", "empty", "failed")


def fit_ranking(rankings: Sequence[Sequence[int]], count: int, prior: float) -> FloatArray:
    """Probabilities P (count,) that make the order of all pairs likeliest.

    A pair with u above v has the likelihood ``P_u / (P_u + P_v)``; answers that a ranking leaves out stand
    below all that it lists, in no order among themselves. Each pair also has ``prior`` wins either way,
    without which an answer that always wins would have P = 1.

    Args:
        rankings: Numbers of answers, best first.
        count: Number of answers.
        prior: More than 0.

    Source: Xiong et al., ICLR 2024, arXiv 2306.13063 (Pair-Rank); fitted by the minorisation of Hunter, "MM
    algorithms for generalized Bradley-Terry models", Annals of Statistics 32, 2004.

    Example:
        >>> fit_ranking([[0, 1], [0, 1], [1, 0]], 2, 0.5)
        array([0.625, 0.375])
    """
    wins = prior * (1.0 - np.eye(count))
    for ranking in rankings:
        left = set(range(count))
        for better in ranking:
            left.discard(better)
            wins[better, list(left)] += 1.0
    met, won = wins + wins.T, wins.sum(axis=1)
    chances = np.full(count, 1.0 / count)
    for _ in range(_MOST_STEPS if count > 1 else 0):
        before = chances
        chances = won / (met / (before[:, None] + before[None, :])).sum(axis=1)
        chances /= chances.sum()
        if np.abs(chances - before).max() < _SMALL:
            break
    return chances


@ELICITORS.register("pair_rank")
class PairRank(Elicitor):
    r"""Draw the k best guesses several times; the answer is the likeliest under all the rankings together.

    The confidence is its probability by :func:`fit_ranking`. A draw ranks its guesses by their stated
    probabilities, and as listed where those are equal. The numbers themselves are not used.

    Attributes:
        samples: Number of draws.
        temperature: Of the draws.
        k: Number of guesses in each.
        prior: Wins that every answer has over every other one beforehand; 0.5 with n draws that all
            prefer the first of two answers gives (n + 0.5) / (n + 1).

    Source: Xiong et al., ICLR 2024, arXiv 2306.13063.

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> yes, no = "G1: yes\nP1: 60%\nG2: no\nP2: 20%", "G1: no\nP1: 90%\nG2: yes\nP2: 10%"
        >>> replies = iter([yes, no, yes])
        >>> reading = play(PairRank(samples=3).plan(question), lambda r: Response(text=next(replies)))
        >>> reading.answer, round(reading.confidence, 4)
        ('yes', 0.625)
    """

    signals: ClassVar[Mapping[str, Signal]] = {
        "n_parsed": Signal("Number of draws that could be read.", high=None, higher_is_better=None)
    }

    samples: int = 5
    temperature: float = 0.7
    k: int = 4
    prior: float = 0.5

    def __post_init__(self) -> None:
        check_draws(1, self.samples, self.temperature, self.name)
        if not self.prior > 0:
            raise SpecError(f'elicitor "pair_rank": expected prior above 0, got {self.prior}')
        TopK(k=self.k)

    def calls(self, question: Question) -> int:
        """The draws."""
        return self.samples

    def plan(self, question: Question) -> Plan:
        """All draws at once."""
        asked = TopK(k=self.k)
        responses = yield [
            asked.request(question, temperature=self.temperature, sample=number)
            for number in range(1, self.samples + 1)
        ]
        drawn = [asked.ranked(response, question) for response in responses]
        read = [draw.guesses for draw in drawn if draw.guesses]
        signals = {"n_parsed": float(len(read))}
        if not read:
            states = {draw.parsed.status: draw.parsed for draw in drawn}
            return conclude(next(states[s] for s in _STATES if s in states), signals=signals)
        answers = [answer for guesses in read for answer, _ in guesses]
        numbers = match_clusters(answers, question)
        each = iter(numbers)
        rankings = [[next(each) for _ in guesses] for guesses in read]
        chances = fit_ranking(rankings, 1 + max(numbers), self.prior)
        best = int(chances.argmax())
        parsed = ParsedAnswer("answered", answers[numbers.index(best)], "")
        return conclude(parsed, (float(chances[best]), "given"), signals=signals)
