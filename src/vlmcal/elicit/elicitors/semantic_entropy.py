"""Semantic entropy: how spread the meanings of answers are that are drawn at a temperature."""

import math
from collections.abc import Mapping
from typing import ClassVar, Literal

from vlmcal.elicit.answered import AfterAnswer, Answered
from vlmcal.elicit.ask import direct_request, read_answer
from vlmcal.elicit.base import ELICITORS, Plan
from vlmcal.elicit.clusters import entailment_clusters, entropy, masses, match_clusters
from vlmcal.elicit.conclude import check_draws, conclude, unread
from vlmcal.elicit.elicitors.sequence_likelihood import likelihood
from vlmcal.elicit.tokens import answer_tokens
from vlmcal.types.chat import Response, Speaker
from vlmcal.types.question import Question
from vlmcal.types.reading import Signal

ENTROPY = {
    "entropy": Signal("Entropy of the clusters in nats.", high=None, higher_is_better=False),
    "n_clusters": Signal("Number of clusters.", low=1.0, high=None, higher_is_better=False),
    "n_parsed": Signal("Number of draws that could be read.", high=None, higher_is_better=None),
    "hallucination": Signal("Entropy divided by its largest value.", higher_is_better=False),
}


@ELICITORS.register("semantic_entropy")
class SemanticEntropy(AfterAnswer):
    """Draw answers, put those that mean the same together, and take the entropy of the clusters.

    With n readable draws and cluster masses q_k, ``H = -sum q_k log q_k`` and the confidence is
    ``1 - H / log m``, m the most clusters there can be: n for open questions, and not more than the two
    answers of a yes/no question or the options of a choice, so that it does not grow with the number of
    draws. It is 1 when all draws mean the same, 0 when they are spread as far as they can be, and it rates
    the question rather than the plain answer that it is reported with. ``entropy`` is H in nats, higher is
    worse; ``hallucination`` is H / log m.

    Attributes:
        samples: Number of draws, at least 2; the same requests as those of "consistency".
        temperature: Of the draws.
        weight: "count": every draw weighs the same (the discrete form). "likelihood": a draw weighs the
            geometric mean of the probabilities of its answer's tokens; needs log-probabilities.
        cluster: "match": equal answers, after normalisation for open questions. "entailment": answers that
            imply each other both ways, as the judge model says.

    Source: Kuhn et al., "Semantic Uncertainty", ICLR 2023, arXiv 2302.09664; Farquhar et al., "Detecting
    hallucinations in large language models using semantic entropy", Nature 630, 2024 (discrete form).

    Example:
        >>> from vlmcal.elicit.base import play
        >>> from vlmcal.types.chat import Response
        >>> question = Question(id="1", question="Is there an effusion?", answer_type="yes_no")
        >>> replies = iter(["yes", "yes", "no", "yes", "yes"])
        >>> plan = SemanticEntropy(samples=4).plan(question)
        >>> reading = play(plan, lambda request: Response(text=next(replies)))
        >>> round(reading.signals["entropy"], 4), round(reading.confidence, 4)
        (0.5623, 0.1887)
    """

    signals: ClassVar[Mapping[str, Signal]] = ENTROPY

    samples: int = 5
    temperature: float = 0.7
    weight: Literal["count", "likelihood"] = "count"
    cluster: Literal["match", "entailment"] = "match"

    def __post_init__(self) -> None:
        check_draws(2, self.samples, self.temperature, self.name)
        # What one elicitor needs follows from its options.
        speakers: tuple[Speaker, ...] = ("subject", "judge")
        if self.cluster == "entailment":
            object.__setattr__(self, "speakers", speakers)
        object.__setattr__(self, "needs_logprobs", self.weight == "likelihood")

    def calls(self, question: Question) -> int:
        """The plain answer, the draws, and two for every pair of draws with a judge."""
        pairs = self.samples * (self.samples - 1) // 2
        return 1 + self.samples + (2 * pairs if self.cluster == "entailment" else 0)

    def after(self, direct: Answered, question: Question) -> Plan:
        """The plain answer, all draws at once, then the judge's comparisons."""
        logprobs = 0 if self.weight == "likelihood" else None
        responses = yield [
            direct_request(question, temperature=self.temperature, sample=number, logprobs=logprobs)
            for number in range(1, self.samples + 1)
        ]
        parsed = [read_answer(response, question) for response in responses]
        read = [(p.answer, r) for p, r in zip(parsed, responses, strict=True) if p.answer]
        answers = [answer for answer, _ in read]
        signals = {"n_parsed": float(len(answers))}
        if len(answers) < 2:
            note = "fewer than two draws could be read"
            return conclude(direct.parsed, (None, unread(parsed)), signals=signals, note=note)
        weights = [1.0 if logprobs is None else _weight(r, question, answer) for answer, r in read]
        if not all(weights):
            note = "a draw has no log-probabilities of its answer"
            return conclude(direct.parsed, (None, "unsupported"), signals=signals, note=note)
        clusters: list[int] | None = match_clusters(answers, question)
        if self.cluster == "entailment":
            clusters = yield from entailment_clusters(answers, question)
        if clusters is None:
            note = "a verdict of the judge could not be read"
            return conclude(direct.parsed, (None, "unparsed"), signals=signals, note=note)
        spread = entropy(masses(clusters, weights))
        share = min(1.0, spread / math.log(_most(question, len(answers))))
        signals |= {"entropy": spread, "n_clusters": 1.0 + max(clusters), "hallucination": share}
        return conclude(direct.parsed, (1.0 - share, "given"), signals=signals)


def _most(question: Question, draws: int) -> int:
    """The most clusters that the draws can form; 2 where a single option leaves no entropy to divide."""
    possible = {"yes_no": 2, "choice": len(question.options)}.get(question.answer_type, draws)
    return max(2, min(draws, possible))


def _weight(response: Response, question: Question, answer: str) -> float:
    tokens = answer_tokens(response, question, answer)
    return likelihood(tokens, "mean") if tokens else 0.0
