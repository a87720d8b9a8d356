"""Probabilities of words, read out of the log-probabilities of generated tokens."""

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from vlmcal.elicit.conclude import Stated
from vlmcal.elicit.parse.normalise import normalise
from vlmcal.elicit.parse.thoughts import is_mark, said
from vlmcal.types.chat import Response, Token
from vlmcal.types.question import LETTERS, Question
from vlmcal.types.reading import Signal

# The most alternatives per token that usual servers give.
TOP = 20
CAPTURED = {
    "captured_mass": Signal(
        "Probability of all the words that count together, among the alternatives of their token.",
        higher_is_better=None,
    )
}
_SPECIAL = re.compile(r"\s*(<[^<>\s]*>|\[(EOS|BOS|PAD|SEP|CLS)\])\s*")
# Probabilities of different tokens sum to 1 at most, but for rounding.
_MOST = 1.001
_AROUND = " \t\r\n()[]{}<>.,:;!*_`\"'"


def answer_tokens(response: Response, question: Question, answer: str) -> tuple[Token, ...]:
    """The tokens that say the answer, without labels, special tokens and what comes after.

    The word of a yes/no answer, the letter of an option (its text where no letter was given), or the words
    of an open answer. Empty when the response has no tokens or they do not spell the answer.

    Args:
        response: What the answer was read from.
        question: What was asked.
        answer: As it was read.

    Example:
        >>> said = [Token(text, -0.1) for text in ("Answer", ":", " No", ".", " None", "</s>")]
        >>> yes_no = Question(id="1", question="Is it?", answer_type="yes_no")
        >>> [t.text for t in answer_tokens(Response(tokens=tuple(said)), yes_no, "no")]
        [' No']
    """
    patterns = [rb"(?<!\w)(" + re.escape(answer.encode()) + rb")(?!\w)"]
    if answer in question.options:
        letter = LETTERS[question.options.index(answer)].encode()
        # "a" and "A" may be articles: a small letter counts in front only, a large one not before a word.
        front = rb"\A\W*(?:(?:the |final )?answer(?: is|:)?\W*)?("
        patterns = [
            front + letter + rb")(?:\W*\Z|[).:\]])",
            rb"(?<!\w)((?-i:" + letter + rb"))(?!\w)(?-i:(?!\s+[a-z]))",
            *patterns,
        ]
    for pattern in patterns:
        if found := _covering(response.tokens or (), pattern):
            return found
    # The answer may have been read from other characters for the same: "T2‑weighted" as "T2-weighted".
    if normalise(response.text) == normalise(answer):
        return _covering(response.tokens or (), rb"(?s)\s*(.*\S)")
    return ()


def word_token(response: Response, words: Sequence[str]) -> Token | None:
    """The token that begins the first of ``words`` in a reply, or None when none occurs.

    Example:
        >>> said = Response(tokens=(Token("It is", -0.1), Token(" True", -0.2)))
        >>> word_token(said, ("true", "false")).logprob
        -0.2
    """
    either = b"|".join(re.escape(word.encode()) for word in words)
    found = _covering(response.tokens or (), rb"(?<!\w)(" + either + rb")(?!\w)")
    return found[0] if found else None


def _covering(tokens: Sequence[Token], pattern: bytes) -> tuple[Token, ...]:
    """Tokens under the first group of the first match, after any thoughts."""
    kept = [token for token in tokens if not _is_special(token)]
    # A token may hold a part of a character, so positions are counted in bytes.
    pieces = [t.text.translate(_BLANKS).encode() if t.raw is None else t.raw for t in kept]
    whole = b"".join(pieces)
    text = whole.decode("utf-8", "surrogateescape")
    after = said(text)
    before = len(text[: after.start].encode("utf-8", "surrogateescape"))
    last = len(text[: after.end].encode("utf-8", "surrogateescape"))
    found = re.search(pattern, whole[before:last], re.IGNORECASE)
    if not found or after.unfinished:
        return ()
    start, end = (at + before for at in found.span(1))
    covered, position = [], 0
    for token, piece in zip(kept, pieces, strict=True):
        if position < end and position + len(piece) > start:
            covered.append(token)
        position += len(piece)
    return tuple(covered)


def _is_special(token: Token) -> bool:
    # "<0xE2>" with other bytes than its own text is a part of a character.
    own = token.raw is None or token.raw == token.text.encode()
    return own and bool(_SPECIAL.fullmatch(token.text)) and not is_mark(token.text)


# How tokenizers write a leading blank; some servers pass it on.
_BLANKS = {ord("▁"): " ", ord("Ġ"): " "}


class Mass(NamedTuple):
    """Probability of each word at one token, and their sum."""

    words: Mapping[str, float]
    captured: float


def word_mass(token: Token, words: Sequence[str]) -> Mass | None:
    """Probability of each of ``words`` at a token, summed over the ways to write it.

    Case, a leading blank, brackets and punctuation around it make no other word. What is not among the
    alternatives counts as 0, so a word's mass is a lower bound. None where the server gave no alternative.

    Example:
        >>> from vlmcal.types.chat import Alternative
        >>> top = (Alternative("Yes", math.log(0.6)), Alternative(" yes", math.log(0.1)),
        ...        Alternative("No", math.log(0.2)))
        >>> mass = word_mass(Token("Yes", math.log(0.6), top), ("yes", "no"))
        >>> round(mass.words["yes"], 6), round(mass.captured, 6)
        (0.7, 0.9)
    """
    if not token.top:
        return None
    known = [(a.text, a.logprob) for a in token.top]
    if token.text not in {text for text, _ in known}:
        known.append((token.text, token.logprob))
    if math.fsum(math.exp(logprob) for _, logprob in known) > _MOST:
        # More than all: the same tokens are listed twice.
        known = list(dict(known).items())
    sums = dict.fromkeys(words, 0.0)
    names = {word.casefold(): word for word in words}
    for text, logprob in known:
        bare = _plain(text)
        if bare in names:
            sums[names[bare]] += math.exp(logprob)
    return Mass(sums, math.fsum(sums.values()))


def _plain(text: str) -> str:
    return text.translate(_BLANKS).strip(_AROUND).casefold()


def word_confidence(
    token: Token | None, words: Sequence[str], word: str, *, normalise: bool
) -> tuple[Stated, dict[str, float]]:
    """Probability of ``word`` at a token as a confidence, with the mass of all ``words`` as its signal.

    ``p = m(word) / sum of m(w)`` over the words with ``normalise``, else m(word); m is :func:`word_mass`.
    "unparsed" without a token or where it says none of the words, "unsupported" without alternatives.

    Example:
        >>> from vlmcal.types.chat import Alternative
        >>> top = (Alternative("A", math.log(0.5)), Alternative(" a", math.log(0.1)),
        ...        Alternative("B", math.log(0.2)))
        >>> token = Token("A", math.log(0.5), top)
        >>> [round(word_confidence(token, "AB", "A", normalise=n)[0].confidence, 4) for n in (True, False)]
        [0.75, 0.6]
    """
    mass = word_mass(token, words) if token else None
    if token and mass is None:
        return Stated(None, "unsupported"), {}
    if token and _plain(token.text) not in {each.casefold() for each in words}:
        # An option given as its text: the letters among the alternatives are of another answer.
        return Stated(None, "unparsed"), {}
    if mass is None or mass.captured == 0:
        return Stated(None, "unparsed"), {}
    share = mass.words[word] / (mass.captured if normalise else 1.0)
    return Stated(min(1.0, share), "given"), {"captured_mass": min(1.0, mass.captured)}
