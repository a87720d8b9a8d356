"""One option of a multiple-choice question, by its letter in answer position or by its text."""

import re
from collections.abc import Sequence

from vlmcal.elicit.parse.fields import ANSWER_NAMES, find_fields
from vlmcal.elicit.parse.plain import bare, plain
from vlmcal.elicit.parse.yes_no import parse_yes_no
from vlmcal.types.question import LETTERS

# A line that opens with a letter as a label: "B.", "(B)", "b) text", "**B** because", "B: text", "B - text",
# and for letters that are no English word "B, because". A bare "A chest X-ray ..." is none of these.
_LABEL = re.compile(
    r"[\s_#>\"'{\[$*-]*(?:option |choice |answer )?"
    r"(?:\*\*(?P<bold>[A-Z])\*\*|\((?P<round>[A-Za-z])\)|\[(?P<square>[A-Za-z])\]|"
    r"(?P<mark>[A-Za-z])(?:\)|[.:](?![\w.]))|(?P<comma>[B-HJ-Z]),|(?P<dash>[A-Z]) -(?= )|"
    r"(?P<explained>[A-Z])(?= \((?:not|because|since|instead|rather)\b| (?:because|since|due to)\b)|"
    r"(?P<alone>[A-Za-z])(?=[\s*_\"'.)\]}$]*$))"
)
# Statements of a choice, unlike a mere mention of "option B": "the answer is B", "I choose B", "B is right".
_CHOSEN = re.compile(
    r"\b(?:(?i:answer|option|choice|diagnosis|finding)(?: (?:is|would be|should be|must be))[ :]+"
    r"(?i:the )?|(?i:it(?:'s| is))[ :]+|(?i:i(?: would|'d| will)? (?:choose|select|pick|go with|say))[ :]+)"
    r"(?i:option |choice )?[*_\"'(\[]*(?P<letter>[A-Z])(?![\w'-])(?P<then>[ ](?=[a-z]))?"
)
# "The answer is B? No, C.": asked, not stated.
_ASKED = re.compile(_CHOSEN.pattern + r"[*_\"')\]]*\?(?=\s|$)")
_CORRECT = re.compile(
    r"(?:^|(?<=[.!?:;,\n] ))[\s*_]*(?i:option |choice )?[*_(\[]*(?P<letter>[A-Z])[*_)\]]* "
    r"is (?:the )?(?:\w+ ){0,3}?(?i:correct|right|best|answer)\b(?P<then>\Z\A)?"
)
_NAMED = re.compile(
    r"\b(?:[Oo]ption|[Cc]hoice|[Ll]etter)[ :]+[*_\"'(\[]*(?P<letter>[A-Z])(?![\w'-])(?P<then>\Z\A)?"
)
_DENIED_AFTER = re.compile(
    r"[\s*_\"')\].:,]*(?:is|was|would be|seems|looks)\s+(?:\w+\s+){0,2}?"
    r"(?:not\b|wrong|incorrect|false|unlikely|excluded|ruled)|n't\b",
    re.I,
)
# Behind one of these the choice is explained, and other options may be named.
_BECAUSE = re.compile(
    r"\b(?:because|since|as|due to|given|for|which|where|whereas|while|not|rather than|instead of|unlike|"
    r"over|than|excluding|except|weil|da|denn|nicht|statt|car|parce que|porque|ya que)\b|因为|由于|而不是",
    re.I,
)
_EXPLAINS = re.compile(
    r"[\s*_#>-]*(?:explanation|explained|reason\w*|rationale|justification|because|why|analysis|note|"
    r"(?:the )?other (?:options|choices)|incorrect (?:options|choices))\b",
    re.I,
)
_TAKES_BACK = re.compile(
    r"\b(?:actually|wait|correction|on reflection|on second thou?ghts?|scratch that|i meant|better|"
    r"hmm|no,|sorry|alternatively|maybe|perhaps|possibly|or)\b",
    re.I,
)
# Of these, what an explanation of other options would not say.
_SURELY = re.compile(
    r"\b(?:actually|wait|correction|on reflection|on second thou?ghts?|scratch that|i meant|sorry)\b",
    re.I,
)
# In an answer field also "B because ..." and, for letters that are words, "A (left)" or "A, since ...".
_FIELD_LETTER = re.compile(r"[B-HJ-Z](?=[ ,;])|[AI](?=[,;]| [(\[-]| because\b| since\b)")
_LONE = re.compile(r"(?<![\w'-])(?:[B-HJ-Z](?![\w'-])|[AI](?![\w'-]| [a-z]))")
# "A: no. B: yes.", "A is incorrect": what is said of one option each.
_VERDICT = re.compile(
    r"(?<![\w'-])(?:[Oo]ption |[Cc]hoice )?[*_(\[]*(?P<letter>[A-Z])[*_)\]]*\s*(?:[.:=-]+|\bis\b)\s*[*_\"]*"
    r"(?:(?P<right>(?i:yes|true|correct|right))|(?P<wrong>(?i:no|not|false|incorrect|wrong)))\b"
)
_TAKEN_BACK = ""  # no option: the choice was made and then another one
_LONGEST_LABELLED = 1000  # bounds the work on a line of nothing but labels
_NEGATION = re.compile(
    r"\b(?:no|not|never|neither|nor|without|rather|instead|except|exclud\w*|incorrect|wrong|false|unlikely|"
    r"rul\w+ out|eliminat\w*|if|whether|cannot|absent)\b|n't\b",
    re.I,
)


def parse_option(text: str, options: Sequence[str]) -> str | None:
    """Read one of ``options`` out of a model's answer; None when none, several, negated or contradictory.

    Letters count in answer position only: alone, with a bracket, a full stop or a colon at the start of a
    line, or after "the answer is" and the like. A letter of no option, two different letters, or a letter
    followed by the text of another option give None. Without a letter, the option counts whose text is
    mentioned (whole words, whatever their case; a mention inside a longer option's mention is none), if it
    is the only one and its sentence has no negation.

    Where the answer comes first, an explanation behind it may speak of other options ("B. ... Option A would
    show ..."); only another choice ("the answer is A", "actually A", "A" alone) takes it back.

    Args:
        text: What the model wrote.
        options: Texts of the options; option i has the letter ``LETTERS[i]``.

    Example:
        >>> sides = ("left lung", "right lung")
        >>> parse_option("(B)", sides), parse_option("Answer: A", sides), parse_option("Right lung.", sides)
        ('right lung', 'left lung', 'right lung')
        >>> parse_option("A chest X-ray is shown", sides), parse_option("B. left lung", sides)
        (None, None)
        >>> parse_option("B. It lies there, while option A is clear.", sides)
        'right lung'
    """
    text = _ASKED.sub(" ", plain(text))
    fields = [f for found in find_fields(text, ANSWER_NAMES).values() for f in found]
    if not fields and (verdicts := _verdicts(text, options)):
        return verdicts.pop() if len(verdicts) == 1 else None
    if not fields:
        first = _first(text, options)
        return None if first == _TAKEN_BACK else first or _read(text, options)
    readings = {_read(value, options, in_field=True) for value in {field.value for field in fields}}
    answer = readings.pop()
    if readings or answer is None:
        return None
    own = LETTERS[list(options).index(answer)]
    # A single other letter before a line contradicts the field; several are the list of options, repeated.
    # Behind the field, where others are explained, only a letter alone does.
    last = max(field.end for field in fields)
    labelled = {letter for line in text[:last].splitlines() if (letter := _label(line)[0])}
    alone = {
        a
        for line in text[last:].splitlines()
        if (a := _label(line)[0]) and not bare(_label(line)[1])
    }
    if (len(labelled) == 1 and labelled != {own}) or alone - {own}:
        return None
    for sentence in re.split(r"[.!?](?=\s|$)|\n", text[last:]):
        if _SURELY.search(sentence) and _all_named(sentence, options) - {own}:
            return None
    return answer


def _first(text: str, options: Sequence[str]) -> str | None:
    """The option that the first line chooses, if what follows explains it; "" where it chooses another."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        return None
    head = re.split(r"(?<=[.!?])\s+(?=[A-Z(])", lines[0], maxsplit=1)
    alone = len(head) > 1 and _label(head[0])[0] and not bare(_label(head[0])[1])
    if alone and _opens_with(head[1], options):
        # "B. Pneumothorax is seen.": the letter's full stop ends no sentence.
        more = re.split(r"(?<=[.!?])\s+(?=[A-Z(])", head[1], maxsplit=1)
        head = [f"{head[0]} {more[0]}", *more[1:]]
    opening, rest = head[0], [*head[1:], *lines[1:]]
    letter = _label(opening)[0]
    chosen = _read(opening, options, in_field=letter is not None)
    if chosen is None or not (letter or _same(bare(opening), bare(plain(chosen)))):
        return None
    own = LETTERS[list(options).index(chosen)]
    explained = False
    for number, part in enumerate(rest):
        explained = explained or bool(_EXPLAINS.match(part))
        other, after = _label(part)
        if (
            other
            and other != own
            and (not bare(after) or not (explained or (number == 0 and head[1:])))
        ):
            return None  # another letter alone, or the list of options
        if not explained and any(_same(bare(part), bare(plain(o))) for o in options if o != chosen):
            return None
        for sentence in re.split(r"[.!?](?=\s|$)|\n", part):
            named = {m["letter"] for m in _chosen(sentence)}
            if (_SURELY if explained else _TAKES_BACK).search(sentence):
                named |= _all_named(sentence, options)
            if named - {own}:
                return _TAKEN_BACK
    return chosen


def _verdicts(text: str, options: Sequence[str]) -> set[str | None]:
    """The options that are called right where every sentence judges one by its letter; None for none."""
    if any(re.match(r"(?:yes|no|true|false|not|right|wrong)\b", o, re.I) for o in options):
        return set()
    told = list(_VERDICT.finditer(text))
    if not told or bare(_VERDICT.sub("", text)).strip(" .,;\n"):
        return set()
    right = {LETTERS.index(found["letter"]) for found in told if found["right"]}
    return {options[i] for i in right if i < len(options)} or {None}


def _all_named(sentence: str, options: Sequence[str]) -> set[str]:
    """Letters of the options that a sentence names, by letter or text."""
    lone = {letter for letter in _LONE.findall(sentence) if LETTERS.index(letter) < len(options)}
    mentioned = _mentioned(sentence, options)
    return lone | {LETTERS[i] for i, option in enumerate(options) if option == mentioned}


def _chosen(sentence: str) -> list[re.Match[str]]:
    """Statements of a choice in a sentence that are neither denied nor weighed."""
    return [
        found
        for pattern in (_CHOSEN, _CORRECT)
        for found in pattern.finditer(sentence)
        if not (found["letter"] in "AI" and _article(found))
        and not _NEGATION.search(sentence[: found.start("letter")])
        and not (pattern is _CHOSEN and _DENIED_AFTER.match(sentence, found.end("letter")))
    ]


def _read(text: str, options: Sequence[str], in_field: bool = False) -> str | None:
    exact = [option for option in options if _same(bare(text), bare(plain(option)))]
    letters, after = _letters(text, options, in_field)
    if not letters:
        if len(exact) == 1:
            return exact[0]
        if {option.casefold() for option in options} == {"yes", "no"}:
            word = parse_yes_no(text)
            return next((option for option in options if option.casefold() == word), None)
        return _mentioned(text, options)
    if len(letters) > 1:
        return None
    index = LETTERS.index(letters.pop())
    if index >= len(options) or any(option != options[index] for option in exact):
        return None
    named = {_opens_with(rest, options) for rest in after} - {None, options[index]}
    return None if named else options[index]


def _letters(text: str, options: Sequence[str], in_field: bool) -> tuple[set[str], list[str]]:
    """Letters in answer position, and what follows each."""
    letters: set[str] = set()
    after = []
    for line in text.splitlines():
        line = line[:_LONGEST_LABELLED]
        letter, rest = _label(line)
        if letter is None and (found := re.match(r"[\s*_\"']*([A-Z])[ \t]+(?=\S)", line)):
            # "B right lung": a bare letter counts only before the text of an option.
            rest = line[found.end() :]
            letter = found[1] if _opens_with(rest, options) else None
        while letter:
            letters.add(letter)
            after.append(rest)
            letter, rest = _label(rest)  # "A. B." names two
    sentences = re.split(r"[.!?](?=\s|$)|\n", text)
    chosen = [(found, sentence) for sentence in sentences for found in _chosen(sentence)]
    if not chosen and not letters:
        # A mere mention of an option, where nothing else is said, and not in a sentence that denies.
        for sentence in sentences:
            named = list(_NAMED.finditer(sentence))
            chosen += [(found, sentence) for found in named]
            if named:
                # "Option A is out. B it is.": another letter in the next sentence, too.
                letters.update(x for x in _LONE.findall(text) if LETTERS.index(x) < len(options))
            if named and _NEGATION.search(sentence):
                letters.update(("", "?"))
    for found, sentence in chosen:
        letters.add(found["letter"])
        after.append(sentence[found.end("letter") :])
    if in_field and not letters and (found := _FIELD_LETTER.match(text)):
        letters.add(found.group())
        after.append(text[found.end() :])
    for rest in after:
        # "B, or maybe C": another option's letter in the same sentence, but not in the option's own text.
        sentence = _BECAUSE.split(re.split(r"[.!?](?=\s|$)", rest, maxsplit=1)[0], maxsplit=1)[0]
        if _opens_with(rest, options) is None:
            letters.update(x for x in _LONE.findall(sentence) if LETTERS.index(x) < len(options))
    return letters, after


def _article(found: re.Match[str]) -> bool:
    """Whether "A" or "I" goes on as prose ("the answer is A chest film"), not as an explanation."""
    return bool(found["then"]) and not _BECAUSE.match(found.string, found.end("then"))


def _label(line: str) -> tuple[str | None, str]:
    found = _LABEL.match(line)
    if not found:
        return None, ""
    letter = next(value for value in found.groups() if value)
    return letter.upper(), line[found.end() :]


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _pattern(option: str) -> str:
    words = r"\s+".join(map(re.escape, bare(plain(option)).split()))
    return rf"(?<!\w){words}(?!\w)"


def _longest_first(options: Sequence[str]) -> list[str]:
    return sorted((option for option in options if bare(plain(option))), key=len, reverse=True)


def _opens_with(rest: str, options: Sequence[str]) -> str | None:
    """The longest option whose text ``rest`` opens with."""
    rest = rest.lstrip(" \t*_\"'().:,-")
    for option in _longest_first(options):
        if re.match(_pattern(option), rest, re.I):
            return option
    return None


def _mentioned(text: str, options: Sequence[str]) -> str | None:
    mentioned = []
    for option in _longest_first(options):
        found = re.search(_pattern(option), text, re.I)
        if found:
            mentioned.append(option)
            # Shorter options inside this one's text are not mentioned by it.
            text = re.sub(_pattern(option), "\x00", text, flags=re.I)
    if len(mentioned) != 1:
        return None
    named = {letter for letter in _LONE.findall(text) if LETTERS.index(letter) < len(options)}
    if named - {LETTERS[list(options).index(mentioned[0])]}:
        return None  # "left lung (B)"
    sentences = re.split(r"[.!?](?=\s|$)|\n", text)
    return None if any("\x00" in s and _NEGATION.search(s) for s in sentences) else mentioned[0]
