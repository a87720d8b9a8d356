"""Open answers that are sentences, judged by one who wants the accepted words alone."""

import statistics
from collections.abc import Sequence

from vlmcal.elicit.answers import Answer
from vlmcal.types.question import QuestionSet

# Where open answers are sentences and next to none is right, the judge is the reason as a rule.
_LONG, _FEW_RIGHT, _FEWEST = 4, 0.05, 20


def long_answers(questions: QuestionSet, answers: Sequence[Answer]) -> list[str]:
    """A warning where open answers are sentences and almost none is right, which says more about the judge.

    Example:
        >>> from vlmcal.types.reading import Reading
        >>> from vlmcal.types.question import Question
        >>> each = tuple(Question(id=str(i), question="?") for i in range(20))
        >>> asked = QuestionSet(name="a", questions=each)
        >>> said = Reading(status="answered", answer="The lesion is on the right side.")
        >>> answers = [Answer(q.id, "e", said, correct=False, judge="normalised") for q in asked]
        >>> long_answers(asked, answers)[0][:42]
        '20 open answers have 7 words in the median'
    """
    by_id = {question.id: question for question in questions}
    own = [
        a
        for a in answers
        if a.correct is not None and a.judge != "given" and by_id[a.question].answer_type == "open"
    ]
    if len(own) < _FEWEST:
        return []
    words = statistics.median(len((a.reading.answer or "").split()) for a in own)
    right = sum(bool(a.correct) for a in own) / len(own)
    if words <= _LONG or right >= _FEW_RIGHT:
        return []
    return [
        f"{len(own):,} open answers have {words:g} words in the median and {100 * right:.1f} % of them are "
        f'right by "{own[0].judge}", which wants the accepted words alone; judge them anew with '
        "`vlmcal vqa judge FOLDER --judge contained`, or by a model"
    ]
