"""Whether a model declined to answer, as opposed to answering that something cannot be seen."""

import re

from vlmcal.elicit.parse.languages import declines
from vlmcal.elicit.parse.plain import plain

_CANNOT = (
    r"(?:can(?:no|')?t|can not|could(?:n't| not)|won't|will not|am (?:unable|not able) to"
    r"|'?m (?:unable|not able) to|(?:must |have to )?(?:\w+ly )?decline to|refuse to)"
)
# What a model that declines says it cannot do; seeing, telling and determining are not among them,
# because an honest answer may say that the image does not show it.
_TASKS = (
    r"(?:answer|assist|help(?! but)|provide|give|offer|diagnos\w*|interpret|comply|fulfil\w*|advise|comment|"
    r"respond|do that|do this|engage|process|view|access|open|analy[sz]e|make (?:a )?(?:medical|diagnos))"
)
_DECLINES = re.compile(rf"\bi(?:'ll)? ?{_CANNOT} (?:[\w']+ ){{0,3}}{_TASKS}", re.I)
_REFUSALS = re.compile(
    rf"{_DECLINES.pattern}"
    rf"|\b(?:sorry|apologi[sz]e|unfortunately)\b[^.!?\n]{{0,40}}\bi ?{_CANNOT}\b"
    r"|\b(?:as|i am|i'?m) an? (?:ai|artificial intelligence|(?:large )?language model|assistant|chatbot)\b"
    r"[^.!?\n]{0,60}\b(?:cannot|can'?t|unable|not able|am not|'m not|"
    r"(?:do not|don't) (?:have|possess|provide|offer|give|feel))\b"
    r"|\bi(?: am|'?m) not (?:an? (?:ai\b|language model)|a (?:doctor|physician|radiologist)"
    r"|a medical professional|qualified|licensed|allowed to|permitted to|authori[sz]ed to)"
    r"|\bi(?: am|'?m) (?:just|only) an? ai\b"
    r"|\bi (?:do not|don'?t) (?:have the (?:ability|capability|expertise)|feel comfortable)\b"
    r"|\bi must (?:\w+ly )?decline\b|\bi(?:'d| would) rather not\b"
    r"|\bagainst (?:my|our|the) (?:policy|guidelines)\b",
    re.I,
)
_UNABLE = re.compile(rf"\bi ?{_CANNOT}\b", re.I)
_SENT_AWAY = re.compile(
    r"\b(?:consult|see|contact|ask|refer to|seek)\b[^.!?\n]{0,40}"
    r"\b(?:professional|doctor|physician|radiologist|expert|specialist|provider)\b",
    re.I,
)
# "I am not a doctor, but it looks like ...": what follows the disclaimer is the answer.
_GOES_ON = re.compile(r"(?:,|;|\.)\s*(?:but|however|nevertheless|nonetheless|that said),?\s", re.I)
_NO_ANSWER = re.compile(
    r"\b(?:consult|recommend|suggest|advi[sc]e|seek|contact|i can(?: only)? (?:help|describe|offer|provide|"
    r"explain|tell|give|try)|general information|please|would need|you should|let me know)\b",
    re.I,
)
# "While I cannot provide a diagnosis, the image shows ...": the sentence goes on to the answer.
_CONCEDES = re.compile(
    r"(?:^|[.!?\n])\W*(?:while|although|though|even if|whilst)\b[^.!?\n]*$", re.I
)
_ANSWER_FIRST = re.compile(r"[\W_]*(?:(?:yes|no)(?!\w)|(?P<letter>\(?[a-z][).:](?!\w)))", re.I)


def is_refusal(text: str) -> bool:
    """Whether the text declines to answer the question.

    A refusal is a first-person "cannot" with a task (answer, help, provide a diagnosis, interpret, ...) or
    after an apology, "as an AI ... not", a stated lack of standing ("I am not a doctor"), or being unable
    together with sending the reader to a professional. No refusal, but an abstention, is what speaks of
    the image: "cannot be determined from this image", "I cannot tell from this view". A text that opens
    with an answer is a refusal only if the sentence of that answer is ("No, I can't help with that"):
    a disclaimer behind an answer does not take it back, nor does one before it ("I am not a doctor, but
    ..."). Chinese, German, French, Spanish and a few more are read by a table of their own.

    Example:
        >>> is_refusal("I’m sorry, but I can’t provide a diagnosis."), is_refusal("As an AI, I cannot say.")
        (True, True)
        >>> is_refusal("No, I cannot see an effusion."), is_refusal("It cannot be determined.")
        (False, False)
    """
    text = plain(text)
    if opening := _ANSWER_FIRST.match(text):
        sentence = re.split(r"[.!?\n]", text[opening.end() :], maxsplit=1)[0]
        # "No puedo ...": the word is no answer but a part of the refusal.
        if declines(opening[0] + sentence):
            return True
        if opening["letter"]:
            # "B. I am not a doctor, so please see one.": standing is no matter behind a choice.
            return bool(_DECLINES.search(sentence))
        text = sentence
    elif declines(text):
        return True
    if found := _REFUSALS.search(text):
        conceded = _CONCEDES.search(text[: found.start()])
        goes_on = (re.compile(",") if conceded else _GOES_ON).search(text, found.end())
        return goes_on is None or bool(_declines_again(text[goes_on.end() :]))
    return bool(_UNABLE.search(text) and _SENT_AWAY.search(text))


def _declines_again(text: str) -> bool:
    return bool(_REFUSALS.search(text) or _UNABLE.search(text) or _NO_ANSWER.search(text))
