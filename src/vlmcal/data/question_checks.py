"""What is wrong with a set of questions about images: images and questions on two sides of a split."""

import os
from collections import Counter, defaultdict

from vlmcal.data.problems import Findings, Report, shown
from vlmcal.types.question import QuestionSet


def audit_questions(questions: QuestionSet) -> Report:
    """Look for images, groups and questions that several splits share; nothing is raised.

    Example:
        >>> from vlmcal.types.question import Question
        >>> a = Question(id="1", question="Is it large?", images=("x.png",), split="train")
        >>> b = Question(id="2", question="Which side?", images=("x.png", "y.png"), split="test")
        >>> print(audit_questions(QuestionSet(name="toy", questions=(a, b))).to_text())
        toy: 2 images, 1 error, 0 warnings
          error [image-across] 1 of 2 test images are also in train: x.png; a model ...
    """
    findings = Findings(questions.name)
    images: dict[str, set[str]] = defaultdict(set)
    asked: dict[tuple[str, str], set[str]] = defaultdict(set)
    groups: dict[str, set[str]] = defaultdict(set)
    for q in questions:
        for image in q.images:
            images[image].add(q.split)
        groups[q.group].add(q.split)
        asked[" ".join(q.question.lower().split()), os.path.basename("".join(q.images[:1]))].add(
            q.split
        )
    tested = [image for image, sides in images.items() if "test" in sides]
    shared = [os.path.basename(image) for image in tested if images[image] & {"train", "val"}]
    if shared:
        findings.error(
            "image-across",
            f"{len(shared)} of {len(tested)} test images are also in train: {shown(shared)}; a model "
            "that was trained on these questions has seen the pictures. Split by "
            "image, or say so beside every result",
            shared,
        )
    beyond = [
        group
        for group, sides in groups.items()
        if "test" in sides and sides & {"train", "val"} and group not in images
    ]
    if beyond:
        names = [os.path.basename(group) for group in beyond]
        findings.error(
            "group-leak", f"{len(beyond)} groups lie in more than one split: {shown(names)}", names
        )
    again = [text for (text, _), sides in asked.items() if len(sides - {"unknown"}) > 1]
    if again:
        findings.error(
            "question-across",
            f"{len(again)} questions about the same image are in more than one split: {shown(again, 3)}",
            again,
        )
    known = Counter(q.split for q in questions)
    if set(known) == {"unknown"}:
        findings.warning("unknown-split", "the questions name no split, so nothing can be shared")
    answers = Counter(q.answer_type for q in questions)
    splits = ", ".join(f"{split} {n}" for split, n in sorted(known.items()))
    lines = (
        f"questions: {splits}; images: {len(images)}",
        f"answers: {', '.join(f'{kind} {n}' for kind, n in answers.most_common())}",
    )
    report = findings.report(len(images))
    return Report(name=report.name, n_images=len(images), problems=report.problems, overview=lines)
