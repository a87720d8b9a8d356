"""One form for the many ways of writing the same characters, before anything is read."""

import re
import unicodedata
from functools import lru_cache

from vlmcal.elicit.parse.languages import in_english
from vlmcal.elicit.parse.thoughts import said

# NFKC leaves these apart although no reader tells them from the ASCII character.
_SAME: dict[int, str] = {
    **dict.fromkeys(map(ord, "‘’‚‛′`´ʼ＇"), "'"),
    **dict.fromkeys(map(ord, "“”„‟″«»"), '"'),
    **dict.fromkeys(map(ord, "‐‑‒–−﹣"), "-"),
    **dict.fromkeys(map(ord, "—―"), " - "),  # between clauses: "Yes—there is"
    ord("٪"): "%",
    ord("٫"): ".",
    ord("⁄"): "/",
    ord("∕"): "/",
    ord("\r"): "\n",
}
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufe0f\ufeff"))
# "10⁻³" is no 10-3.
_RAISED = re.compile(r"(?<=10)[⁺⁻]?[⁰¹²³⁴⁵⁶⁷⁸⁹]{1,3}")
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\s*\{([^{}]*)\}")
# Longer runs of one sign say nothing more, and cost readers the square of their length.
_RUN = re.compile(r"([\s*_.\-=#~|`'\"(){}\[\]])\1{39,}")
# Letters without thoughts and runs; more is no answer to a question, and would hold up the readers.
LONGEST = 200_000
# Short replies ("yes", "85 %") come again and again: what was read of the last of them is kept.
SHORT, READ_AGAIN = 100, 4096
_BULLETS = re.compile(r"^(?:[\s_#'\"•·:,;|$]|[-.>~](?![ \t]*\.?\d))++")
_END = " \t\n_#~'\",;.。|$-"
_PAIRS = (("(", ")"), ("[", "]"), ("{", "}"))


def plain(text: str) -> str:
    r"""What is said, in Unicode NFKC with ASCII quotes, dashes and percent signs and English labels.

    Thoughts, boxes and marks of turns go here, for all readers (:func:`vlmcal.elicit.parse.thoughts.said`).

    Example:
        >>> plain("<think>No?</think> I can’t\u200b say: ９０٪")
        " I can't say: 90%"
    """
    return _plain_again(text) if len(text) <= SHORT else _plain(text)


def _plain(text: str) -> str:
    text = _RAISED.sub(lambda m: f"^{m.group()}", text)
    text = unicodedata.normalize("NFKC", text.translate(_INVISIBLE)).translate(_SAME)
    text = _RUN.sub(lambda run: run[1] * 40, said(text).text)
    return in_english(_LATEX_TEXT.sub(r"\1", text))


_plain_again = lru_cache(maxsize=READ_AGAIN)(_plain)


def before_last_word(text: str) -> str:
    """``text`` without its last word, which may have been cut: what is read must not hang on it.

    Example:
        >>> before_last_word("Confidence: 8"), before_last_word("left lung")
        ('Confidence: ', 'left ')
    """
    body = text.rstrip(" \t")
    if not body or body[-1].isspace():
        return text
    return body[: len(body) - len(body.split()[-1])]


def bare(text: str) -> str:
    """``text`` without markdown emphasis, bullets, end punctuation, and quotes or brackets around all of it.

    Signs that belong to a number behind them stay: "-3", ".9", "> 90".

    Example:
        >>> bare('**"Pleural effusion."**'), bare("- T2 (axial)"), bare("(left)"), bare("-3")
        ('Pleural effusion', 'T2 (axial)', 'left', '-3')
    """
    text = text.replace("*", "")
    while (shorter := _stripped(text)) != text:
        text = shorter
    return text


def _stripped(text: str) -> str:
    # Brackets inside the text stay in pairs; of a kind without its other half, those at an end go.
    odd = "".join(one + two for one, two in _PAIRS if text.count(one) != text.count(two))
    text = _BULLETS.sub("", text).lstrip(odd).rstrip(_END + odd)
    for opening, closing in _PAIRS:
        if text.startswith(opening) and text.endswith(closing) and text.count(opening) == 1:
            text = text[1:-1]
    return text
