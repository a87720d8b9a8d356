"""An accepted answer inside a sentence, guarded against sentences that name it and mean something else."""

import re
from dataclasses import dataclass

from vlmcal.elicit.judges.base import JUDGES, Verdict
from vlmcal.elicit.parse.normalise import normalise
from vlmcal.elicit.parse.plain import plain
from vlmcal.types.question import Question

_SENTENCE = re.compile(r"[.!?;](?=\s|$)|\n|,? (?:but|however|although|while|whereas)\b", re.I)
# "No effusion", "ruled out", "is absent": the accepted answer is named and denied.
_DENIED_BEFORE = re.compile(
    r"\b(?:no|not|never|without|neither|nor|absent|absence of|free of|denies|rather than|instead of|"
    r"exclud\w*|rul\w* out|unlikely|less likely|negative for|cannot|"
    r"lack of|isnt|doesnt|arent|wasnt)(?: \w+){0,3} $"
)
_DENIED_AFTER = re.compile(
    r"^(?: \w+){0,2} (?:is|are|was|were|seems?|appears?|can be|has been)(?: \w+)? "
    r"(?:not|absent|excluded|ruled out|unlikely|less likely)\b|^ (?:is|are) (?:no|not)\b"
)
_WEIGHED = re.compile(r"\b(?:or|either|versus|vs|and or)\b|\w/\w")
# Words of which an answer with the other one means something else.
_OPPOSITES = [
    *(("left", "right"), ("upper", "lower"), ("anterior", "posterior"), ("superior", "inferior")),
    *(
        ("medial", "lateral"),
        ("benign", "malignant"),
        ("normal", "abnormal"),
        ("present", "absent"),
    ),
    *(("male", "female"), ("increased", "decreased"), ("axial", "coronal"), ("axial", "sagittal")),
    *(("coronal", "sagittal"), ("ct", "mri"), ("t1", "t2"), ("acute", "chronic"), ("yes", "no")),
    *(("unilateral", "bilateral"), ("left", "bilateral"), ("right", "bilateral"), ("ap", "pa")),
]
_LIST = 4


@dataclass(frozen=True)
class Contained:
    """Right when an accepted answer stands in the answer as whole words, and the sentence stands by it.

    Both are normalised. Wrong where the sentence denies it ("no effusion"), weighs it against something
    ("left or right"), lists four things or more, or names its opposite too ("left" where the accepted answer
    is "right"); where a number stands beside other numbers; and for answers of more than ``max_words``
    words. An answer that adds something to the accepted one counts as right.

    Attributes:
        max_words: Longest answer that is looked into.

    Example:
        >>> side = Question(id="1", question="Which side?", gold=("right",))
        >>> said = ("It lies on the right side.", "Left or right.", "There is no lesion on the right.")
        >>> [Contained().judge(side, text).correct for text in said]
        [True, False, False]
    """

    max_words: int = 60

    @property
    def name(self) -> str:
        """With the bound where it is another one than usual."""
        return "contained" if self.max_words == 60 else f"contained({self.max_words})"

    def judge(self, question: Question, answer: str) -> Verdict:
        """Whether one of the accepted answers is said."""
        if not question.gold:
            return Verdict(None, self.name, 0.0)
        right = any(_says(answer, gold, self.max_words) for gold in question.gold)
        return Verdict(right, self.name, float(right))


def _says(answer: str, gold: str, most: int) -> bool:
    wanted, whole = normalise(gold), normalise(answer)
    if not wanted or wanted == whole:
        return bool(wanted)
    if len(whole.split()) > most:
        return False
    own = set(wanted.split())
    words = set(whole.split())
    for one, other in _OPPOSITES:
        if (one in own and other in words - own) or (other in own and one in words - own):
            return False
    if _number(wanted) and any(_number(word) for word in words - own):
        return False
    said = False
    for part in _SENTENCE.split(plain(answer)):
        sentence = f" {normalise(part)} "
        at = sentence.find(f" {wanted} ")
        if at < 0:
            continue
        before, after = sentence[1 : at + 1], sentence[at + 1 + len(wanted) :].rstrip()
        if _DENIED_BEFORE.search(before) or _DENIED_AFTER.search(after):
            return False
        if (_WEIGHED.search(before + " " + after) or "/" in part) and not _WEIGHED.search(wanted):
            return False
        if len(re.split(r",| and ", part)) >= _LIST > len(re.split(r",| and ", gold)):
            return False
        said = True
    return said


def _number(word: str) -> bool:
    return bool(re.fullmatch(r"-?\d+(?:\.\d+)?%?", word))


JUDGES.register("contained")(Contained())
