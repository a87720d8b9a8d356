"""What cells of question files mean: texts, lists, yes and no, options and the right one among them."""

import ast
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from vlmcal.data.splits import split_alias
from vlmcal.data.vqa.words import yes_no
from vlmcal.errors import DataError, require_known
from vlmcal.io.json_text import parse_json
from vlmcal.types.question import LETTERS, AnswerType


class Answer(NamedTuple):
    """How a question is answered: type, accepted answers, options."""

    answer_type: AnswerType
    gold: tuple[str, ...]
    options: tuple[str, ...] = ()


def text(value: Any) -> str:
    """A cell as text without spaces around it; empty for a missing one.

    Example:
        >>> text(4), text(" Yes "), text(None), text(float("nan"))
        ('4', 'Yes', '', '')
    """
    return "" if value is None or value != value else str(value).strip()


def needed(cells: Mapping[str, Any], name: str) -> str:
    """The text of a cell that must not be empty.

    Raises:
        DataError: There is no such column, or its cell is empty.
    """
    require_known(name, cells, "no", DataError)
    if not (found := text(cells[name])):
        raise DataError(f'"{name}" is empty')
    return found


def by_gold(gold: Iterable[Any]) -> Answer:
    """A question without options: "yes_no" if its answers are yes or no, else "open".

    Example:
        >>> by_gold(["Yes "]), by_gold(["left lung"])[:2], by_gold([""])[:2]
        (Answer(answer_type='yes_no', gold=('yes',), options=()), ('open', ('left lung',)), ('open', ()))
    """
    texts = tuple(dict.fromkeys(answer for answer in map(text, gold) if answer))
    decided = [yes_no(answer) for answer in texts]
    if decided and None not in decided:
        return Answer("yes_no", tuple(dict.fromkeys(a for a in decided if a)))
    return Answer("open", texts)


def by_options(options: Sequence[Any], gold: Sequence[str], *, letters: bool = False) -> Answer:
    """A choice among ``options``, whose letters ("A: ...", "(B) ...") are dropped where all have their own.

    Args:
        options: Their texts; empty ones at the end do not exist.
        gold: Accepted options, as their texts (letter case, spaces and a full stop at the end do not
            count) or, where no text fits, as letters.
        letters: Whether the gold is always a letter.

    Raises:
        DataError: An answer is not among the options, or fits several.

    Example:
        >>> by_options(["A: liver", "B: spleen"], ["b"])
        Answer(answer_type='choice', gold=('spleen',), options=('liver', 'spleen'))
    """
    texts = [text(option) for option in options]
    while texts and not texts[-1]:
        texts.pop()
    if "" in texts:
        raise DataError(f"option {LETTERS[texts.index('')]} is empty, got {texts}")
    bare = _without_letters(texts)
    chosen = [_option(answer, bare, letters) for answer in map(text, gold) if answer]
    return Answer("choice", tuple(dict.fromkeys(chosen)), tuple(bare))


def _without_letters(options: list[str]) -> list[str]:
    patterns = [rf"\(?{letter}\s*[:.)]\s*(?=\S)" for letter in LETTERS[: len(options)]]
    found = [re.match(p, option) for p, option in zip(patterns, options, strict=False)]
    if not options or None in found or len(options) > len(LETTERS):
        return options
    return [option[match.end() :] for option, match in zip(options, found, strict=True) if match]


def _option(answer: str, options: list[str], letters: bool) -> str:
    letter = re.fullmatch(r"\(?([A-Z])[:.)]?", answer.upper())
    place = LETTERS.index(letter[1]) if letter else len(options)
    lettered = options[place] if place < len(options) else None
    if letters:
        fitting = [lettered] if lettered is not None else []
    else:
        plain = _plain(_bare(answer, options))
        fitting = [o for o in options if o == answer] or [o for o in options if _plain(o) == plain]
        fitting = fitting or ([lettered] if lettered is not None else [])
    if len(set(fitting)) != 1:
        why = "fits several of" if fitting else "is not among"
        raise DataError(f'the answer "{answer}" {why} the options {options}')
    return fitting[0]


def _bare(answer: str, options: list[str]) -> str:
    """The answer without a letter in front, if that letter is the one of the option it then names."""
    match = re.match(r"\(?([A-Z])\s*[:.)]\s*(?=\S)", answer)
    place = LETTERS.index(match[1]) if match else len(options)
    rest = answer[match.end() :] if match else answer
    return rest if place < len(options) and _plain(options[place]) == _plain(rest) else answer


def _plain(option: str) -> str:
    return " ".join(option.casefold().split()).rstrip(". ")


def listed(cell: Any) -> list[str]:
    """Entries of a list, of a JSON or Python list written as text, or of "a|b|c".

    Raises:
        DataError: The text begins like a list and is none.

    Example:
        >>> listed("['1', 'two']"), listed("left | right"), listed(["a"]), listed("")
        (['1', 'two'], ['left', 'right'], ['a'], [])
    """
    if isinstance(cell, (list, tuple)):
        return [text(entry) for entry in cell]
    written = text(cell)
    if written.startswith("[") and written.endswith("]"):
        return [text(entry) for entry in _parsed(written)]
    return [entry.strip() for entry in written.split("|")] if written else []


def _parsed(written: str) -> list[Any]:
    try:
        found = parse_json(written)
    except json.JSONDecodeError:
        try:
            found = ast.literal_eval(written)
        except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
            raise DataError(f"not a JSON or Python list: {written[:80]}") from error
    return list(found)


def split_of_name(name: str) -> str:
    """The one split that the words of a file name speak of, else "unknown".

    Example:
        >>> split_of_name("VQAMed2019_Test_Questions.txt"), split_of_name("validate.json")
        ('test', 'val')
    """
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)
    found = {"val" if w.lower() == "validate" else split_alias(w) for w in words} - {None}
    return str(found.pop()) if len(found) == 1 else "unknown"
