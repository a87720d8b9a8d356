"""Which answers mean the same, and how spread they are."""

import math
from collections.abc import Generator, Sequence

from vlmcal.elicit.parse.normalise import normalise
from vlmcal.elicit.parse.yes_no import parse_yes_no
from vlmcal.types.chat import Message, Request, Response
from vlmcal.types.question import Question

ClusterStep = Generator[Sequence[Request], Sequence[Response], list[int] | None]


def same_answer(first: str, second: str, question: Question) -> bool:
    """Whether two answers are equal: exactly for closed questions, after normalisation for open ones.

    Example:
        >>> question = Question(id="1", question="What is shown?")
        >>> same_answer("The left lung.", "left lung", question), same_answer("lung", "liver", question)
        (True, False)
    """
    if question.answer_type == "open":
        return normalise(first) == normalise(second)
    return first == second


def match_clusters(answers: Sequence[str], question: Question) -> list[int]:
    """Number of each answer's cluster, from 0 in the order of first appearance.

    Example:
        >>> match_clusters(["no", "yes", "no"], Question(id="1", question="Is it?", answer_type="yes_no"))
        [0, 1, 0]
    """
    names = [normalise(each) if question.answer_type == "open" else each for each in answers]
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    return [numbers[name] for name in names]


def entailment_request(question: Question, first: str, second: str) -> Request:
    """Asks the judge whether one answer implies another; no image is shown."""
    text = (
        f"Question: {question.question}\nFirst answer: {first}\nSecond answer: {second}\n\n"
        "If the first answer is true, is the second answer true as well? Answer with yes or no only."
    )
    return Request(messages=(Message("user", text),), max_tokens=16, speaker="judge")


def entailment_clusters(answers: Sequence[str], question: Question) -> ClusterStep:
    """Clusters of answers that imply each other both ways, as the judge says.

    Answers that match are one; each further answer is compared with the first member of every cluster, and
    joins the first cluster in which both directions hold. None when a verdict that is needed cannot be read.

    Source: Kuhn et al., "Semantic Uncertainty", ICLR 2023, arXiv 2302.09664 (algorithm 1).
    """
    matched = match_clusters(answers, question)
    texts: dict[int, str] = {}
    for number, answer in zip(matched, answers, strict=True):
        texts.setdefault(number, answer)
    firsts: list[str] = []
    cluster: dict[int, int] = {}
    for number, text in texts.items():
        requests = []
        for first in firsts:
            requests += [
                entailment_request(question, text, first),
                entailment_request(question, first, text),
            ]
        replies = (yield requests) if requests else ()
        said = [parse_yes_no(reply.text) if reply.status == "ok" else None for reply in replies]
        both = [_both(*said[i : i + 2]) for i in range(0, len(said), 2)]
        if None in both:
            return None
        cluster[number] = both.index(True) if True in both else len(firsts)
        if True not in both:
            firsts.append(text)
    return [cluster[number] for number in matched]


def _both(there: str | None, back: str | None) -> bool | None:
    if "no" in (there, back):
        return False
    return True if there == back == "yes" else None


def masses(clusters: Sequence[int], weights: Sequence[float]) -> list[float]:
    """Share of the weights in each cluster.

    Example:
        >>> masses([0, 1, 0, 0], [1, 1, 1, 1])
        [0.75, 0.25]
    """
    total = math.fsum(weights)
    return [
        math.fsum(w for c, w in zip(clusters, weights, strict=True) if c == number) / total
        for number in range(max(clusters) + 1)
    ]


def entropy(probabilities: Sequence[float]) -> float:
    """``-sum p log p`` in nats.

    Example:
        >>> round(entropy([0.75, 0.25]), 4)
        0.5623
    """
    return -math.fsum(p * math.log(p) for p in probabilities if p > 0) + 0.0
