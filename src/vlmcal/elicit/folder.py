"""A folder of answers: questions, responses, readings, and what they were made with."""

import hashlib
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vlmcal.elicit.answers import Answer, as_lines, load_answers
from vlmcal.errors import DataError, StoreError, VlmcalError
from vlmcal.io.atomic import atomic_write, is_output
from vlmcal.io.json_files import read_json, write_sealed
from vlmcal.io.questions import read_questions, save_questions
from vlmcal.io.state_files import SEAL, is_intact
from vlmcal.types.question import Question, QuestionSet

# Each command that adds to a folder adds to these.
_SUMS = ("calls", "tokens", "tokens_in", "tokens_out", "tokens_thinking", "seconds")
_FILES = ("questions.jsonl", "responses.jsonl", "answers.jsonl", "run.json")
_LOCK = ".responses.jsonl.lock"
_CHECKSUM = "answers_checksum"


@dataclass(frozen=True)
class AnswerFolder:
    """``questions.jsonl``, ``responses.jsonl``, ``answers.jsonl`` and ``run.json`` under ``root``.

    Attributes:
        root: The folder.
    """

    root: Path

    @property
    def responses(self) -> Path:
        """Log of responses; see :class:`vlmcal.elicit.response_log.ResponseLog`."""
        return self.root / "responses.jsonl"

    def require_ours(self) -> None:
        """Refuse a folder of somebody else's, before anything is written or asked.

        Raises:
            StoreError: It is a file, or holds something and no ``run.json`` of ours; or one of our files is a
                link, through which another file would be written.
        """
        if is_output(self.root):
            raise StoreError(
                f"{self.root} is standard output; give a folder for the answers with -o"
            )
        if not self.root.exists():
            return
        if not self.root.is_dir():
            raise StoreError(f"{self.root} is a file; give a folder for the answers with -o")
        linked = [name for name in _FILES if (self.root / name).is_symlink()]
        if linked:
            raise StoreError(
                f"{self.root / linked[0]} is a link; what it points at would be overwritten. Give another "
                "folder with -o"
            )
        # A run that was killed before its first question leaves an empty log and what it was writing.
        held = [path for path in self.root.iterdir() if path.name != _LOCK and not _is_left(path)]
        log = self.responses
        if not held or (held == [log] and log.stat().st_size == 0) or self._is_ours():
            return
        names = ", ".join(sorted(path.name for path in held)[:3])
        raise StoreError(
            f"{self.root} holds other files ({names}) and no answers of vlmcal; nothing was written. Give a "
            "new or an empty folder with -o"
        )

    def _is_ours(self) -> bool:
        path = self.root / "run.json"
        if not path.is_file():
            return False
        try:
            found = read_json(path)
        except StoreError:
            found = {}
        # Damaged, or another program's; with a line of ours beside it, it can be written again.
        return "model" in found or (not found and self._holds_a_line())

    def _holds_a_line(self) -> bool:
        from vlmcal.elicit.response_log import is_record
        from vlmcal.elicit.restoring import readable_answers

        answers = self.root / "answers.jsonl"
        if answers.is_file() and any(True for _ in readable_answers(answers.read_bytes())):
            return True
        return self.responses.is_file() and is_record(self.responses)

    def begin(self, questions: QuestionSet, model: str) -> None:
        """Take the folder for these questions and this model, before anything is asked.

        Raises:
            StoreError: It holds answers of another model, or a question with the same id and other content.
        """
        try:
            earlier = self._of(model)
        except _DamagedRunError as error:
            if not self.responses.is_file() or not self.responses.stat().st_size:
                raise
            # Whose the answers were is not known any more; from the log come those of this model.
            warnings.warn(f"{error.path} is damaged and is written anew", stacklevel=2)
            (self.root / "answers.jsonl").unlink(missing_ok=True)
            earlier = {}
        path = self.root / "questions.jsonl"
        was = {q.id: q for q in read_questions(path)} if path.is_file() else {}
        other = [q for q in questions if q.id in was and _asked(was[q.id]) != _asked(q)]
        if other:
            raise StoreError(
                f'{self.root} holds another question with the id "{other[0].id}"; give another folder '
                "with -o"
            )
        # A shorter set than last time is kept as it was, so that its answers keep their questions.
        now = {q.id for q in questions}
        rest = [q for q in was.values() if q.id not in now]
        # First of all: what a killed command leaves is known as ours by it.
        self._tell({**earlier, "model": model, "complete": False})
        save_questions(path, _located(questions.keep([*questions, *rest])))

    def rewrite(
        self,
        questions: QuestionSet,
        answers: Sequence[Answer],
        about: Mapping[str, Any],
        *,
        replace: bool = False,
    ) -> bool:
        """Write what a table says, in place of what the same table said before.

        Returns:
            Whether there was anything before.

        Raises:
            StoreError: The folder holds answers of another model or table, and these are not to be replaced,
                or were asked for, which costs.
        """
        if replace and self.responses.is_file() and self.responses.stat().st_size:
            raise StoreError(
                f"{self.root} holds answers that a model was asked for, which are never replaced; give "
                "another folder with -o"
            )
        asked = self.responses.is_file()
        hint = "" if asked else "; or replace them with --force (replace=True)"
        before = (self.root / "run.json").is_file()
        if not replace:
            self._of(str(about["model"]), hint)
        self._tell({**about, "complete": False})
        save_questions(self.root / "questions.jsonl", _located(questions))
        self._put(answers, about)
        return before

    def _of(self, model: str, hint: str = "") -> dict[str, Any]:
        earlier = self.about()
        if earlier and earlier.get("model") != model:
            raise StoreError(
                f"{self.root} holds answers of {earlier.get('model')}, not of {model}; give another folder "
                f"with -o{hint}"
            )
        return earlier

    def finish(self, answers: Sequence[Answer], about: Mapping[str, Any]) -> list[Answer]:
        """Write answers, beside those of other elicitors and questions that are there already.

        Args:
            answers: Of this run; replace earlier ones of the same question and elicitor.
            about: Model, options, capabilities; goes into ``run.json``, last. Numbers of calls and tokens
                are added to those of earlier commands, names of elicitors are joined, and what was found
                out about a server earlier is kept.

        Returns:
            All answers that the folder now holds.
        """
        path = self.root / "answers.jsonl"
        before = (
            self._answers(read_questions(self.root / "questions.jsonl")) if path.exists() else []
        )
        merged = {(a.question, a.elicitor): a for a in before}
        merged |= {(a.question, a.elicitor): a for a in answers}
        self._put(merged.values(), _joined(self.about(), about))
        return list(merged.values())

    def with_costs(self, costs: Sequence[Mapping[str, Any]]) -> None:
        """Add what the answers cost; see :mod:`vlmcal.elicit.costs`."""
        self._tell({**self.about(), "costs": list(costs)})

    def with_verdicts(self, answers: Sequence[Answer], judge: str) -> None:
        """Write the same answers with other verdicts, and who judged."""
        self._put(answers, {**self.about(), "judge": judge})

    def _put(self, answers: Iterable[Answer], about: Mapping[str, Any]) -> None:
        """Write answers and what they were made with, whose checksum is at no moment that of others."""
        path, text = self.root / "answers.jsonl", as_lines(answers)
        before, made = self.about(), _digest(text.encode())
        known = before.get(_CHECKSUM, [])
        if not known and path.is_file():
            known = [_digest(path.read_bytes())]
        self._tell({**before, _CHECKSUM: [*known, made]})
        atomic_write(path, text)
        self._tell({**about, _CHECKSUM: [made]})

    def load(self) -> tuple[QuestionSet, list[Answer]]:
        """Questions and answers.

        Raises:
            DataError: The folder holds no answers, or an answer to an unknown question.
        """
        if not self.root.is_dir():
            raise DataError(
                f"{self.root}: expected a folder written by `vlmcal vqa elicit` or `vlmcal vqa import`"
            )
        path, asked = self.root / "answers.jsonl", self.root / "questions.jsonl"
        if not (path.is_file() and asked.is_file()):
            load_answers(path)
            raise DataError(
                f"{self.root}: questions.jsonl is missing; repeat the command that made the folder, which "
                "writes it again and asks nothing twice"
            )
        questions = read_questions(asked)
        answers = self._answers(questions)
        known = {q.id for q in questions}
        for answer in answers:
            if answer.question not in known:
                raise DataError(
                    f'{self.root}: there is an answer to the question "{answer.question}", but no such '
                    "question; the files do not belong together"
                )
        return questions, answers

    def _answers(self, questions: QuestionSet) -> list[Answer]:
        """What ``answers.jsonl`` says; where it is damaged or changed, what the log of responses says."""
        path = self.root / "answers.jsonl"
        try:
            answers = load_answers(path)
        except DataError as error:
            damage, whole = error, True
        else:
            known = self.about().get(_CHECKSUM)
            if not known or _digest(path.read_bytes()) in known:
                return answers
            whole = False
            damage = DataError(
                f"{path} does not match its checksum in run.json: it was damaged or edited. Repeat the "
                f'command that made the folder; after a wanted change, remove "{_CHECKSUM}" from run.json'
            )
        from vlmcal.elicit.restoring import restored

        try:
            return restored(self, questions, whole_lines=whole)
        except VlmcalError:
            raise damage from None

    def about(self) -> dict[str, Any]:
        """What the answers were made with.

        Raises:
            StoreError: ``run.json`` is damaged, or not what was written.
        """
        path = self.root / "run.json"
        if not path.is_file():
            return {}
        try:
            told = read_json(path)
        except StoreError:
            raise _DamagedRunError(path) from None
        # Who takes the checksum of changed answers away has changed the file on purpose.
        if SEAL in told and _CHECKSUM in told and not is_intact(told):
            raise _DamagedRunError(path)
        told.pop(SEAL, None)
        return told

    def _tell(self, about: Mapping[str, Any]) -> None:
        write_sealed(self.root / "run.json", about)


class _DamagedRunError(StoreError):
    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} is damaged or was edited. Repeat the command that made the folder, which writes it "
            "again: `vlmcal vqa elicit` asks for nothing twice, `vlmcal vqa import` takes --force"
        )
        self.path = path


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _is_left(path: Path) -> bool:
    return path.name.endswith(".tmp") and path.name.startswith(
        tuple(f".{name}." for name in _FILES)
    )


def _asked(question: Question) -> Question:
    """The question without where its files lie: requests are told apart by the bytes of the images."""
    return replace(question, images=tuple(Path(i).name for i in question.images), foil=())


def _located(questions: QuestionSet) -> QuestionSet:
    """With absolute paths of the images, so that the folder can be read from anywhere."""
    return questions.keep(
        [replace(q, images=_absolute(q.images), foil=_absolute(q.foil)) for q in questions]
    )


def _absolute(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(str(Path(path).absolute()) if os.path.isfile(path) else path for path in paths)


def _joined(earlier: Mapping[str, Any], about: Mapping[str, Any]) -> dict[str, Any]:
    joined = dict(about)
    for name in _SUMS:
        if name in about:
            joined[name] = about[name] + earlier.get(name, 0)
    if "elicitors" in about:
        joined["elicitors"] = list(
            dict.fromkeys([*earlier.get("elicitors", []), *about["elicitors"]])
        )
    if "capabilities" in about:
        was = earlier.get("capabilities", {})
        joined["capabilities"] = {
            **was,
            **{
                who: _known(was.get(who, {}), found) for who, found in about["capabilities"].items()
            },
        }
    return joined


def _known(earlier: Mapping[str, Any], found: Mapping[str, Any]) -> dict[str, Any]:
    """What is known now; a command that asked little does not forget what another found out."""
    known = {k: earlier.get(k) if v is None else v for k, v in found.items()}
    return {**known, "notes": list(dict.fromkeys([*earlier.get("notes", []), *found["notes"]]))}
