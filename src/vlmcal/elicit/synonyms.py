"""Words that mean the same, by a table of the user's own, for judging open answers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vlmcal.data.rows import read_rows
from vlmcal.data.vqa.fields import text
from vlmcal.elicit.parse.normalise import normalise
from vlmcal.errors import DataError, require_known
from vlmcal.types.question import Question

Group = frozenset[str]


def load_synonyms(path: str | Path) -> list[Group]:
    r"""Groups of words that mean the same, of a table with columns term and synonym, one pair a row.

    What is a synonym of a synonym belongs to the same group. Words are normalised.

    Raises:
        DataError: A column is missing, or a cell is empty.

    Example:
        >>> import tempfile
        >>> table = Path(tempfile.mkdtemp(), "words.csv")
        >>> _ = table.write_text("term,synonym\nkidney,renal\nheart,cardiac\nKidneys,kidney\n")
        >>> [sorted(group) for group in load_synonyms(table)]
        [['kidney', 'kidneys', 'renal'], ['cardiac', 'heart']]
    """
    groups: list[set[str]] = []
    for row in read_rows(Path(path)):
        for name in ("term", "synonym"):
            require_known(name, row.cells, f"{row.where}: no column", DataError)
        pair = {normalise(text(row.cells[name])) for name in ("term", "synonym")}
        if "" in pair:
            raise DataError(f"{row.where}: a cell is empty; expected a term and a synonym")
        own = [group for group in groups if group & pair]
        joined = pair.union(*own)
        if own:
            groups[groups.index(own[0])] = joined
            groups = [group for group in groups if group not in own[1:]]
        else:
            groups.append(joined)
    return [frozenset(group) for group in groups]


def with_synonyms(question: Question, groups: Sequence[Group]) -> Question:
    """An open question that also accepts its answers with one word in place of another of its group.

    Example:
        >>> asked = Question(id="1", question="Which?", gold=("left kidney",))
        >>> with_synonyms(asked, [frozenset({"kidney", "renal", "ren"})]).gold
        ('left kidney', 'left ren', 'left renal')
    """
    if question.answer_type != "open":
        return question
    accepted = dict.fromkeys(question.gold)
    for gold in question.gold:
        words = f" {normalise(gold)} "
        for group in groups:
            # The longest first: "chest x ray" before "x ray".
            held = [
                term for term in sorted(group, key=lambda t: (-len(t), t)) if f" {term} " in words
            ]
            for term in held[:1]:
                others = sorted(group - {term})
                accepted |= dict.fromkeys(
                    words.replace(f" {term} ", f" {o} ").strip() for o in others
                )
    return replace(question, gold=tuple(accepted))
