"""Answers as other programs record them: lm-evaluation-harness, VLMEvalKit, inspect_ai, batches."""

import base64
import binascii
import math
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from vlmcal.data.rows import Row, suffix_of, text_of
from vlmcal.data.vqa.fields import text
from vlmcal.elicit.cells import cell, letter_columns, table_rows
from vlmcal.errors import DataError, require_known
from vlmcal.io.json_text import parse_json
from vlmcal.io.packed import require_honest

# Cells that these readers add: why a request got no answer, and a confidence in [0, 1].
FAILED, SHARE = "vlmcal.failed", "option_likelihood"
_LETTER = re.compile(r"\W*([A-Z])\W*")


class Recording(NamedTuple):
    """What a file holds, in columns that are called as the importer calls them.

    Attributes:
        kind: Program that wrote it.
        rows: One per question, with the columns id, question, options, answer, gold, kind, image.
        correct: Column with verdicts, or None.
        confidence: Columns with confidences in [0, 1].
    """

    kind: str
    rows: list[Row]
    correct: str | None = None
    confidence: tuple[str, ...] = ()


def recording(path: Path, kind: str | None = None) -> Recording | None:
    """The answers in a file of a program whose format is known; None for any other table.

    Args:
        path: The file.
        kind: One of :data:`KINDS`; None tells it from the first record.

    Raises:
        SpecError: No such kind.
        DataError: The file is not of that kind.
    """
    if kind is not None:
        require_known(kind, KINDS, "unknown format")
    if path.suffix == ".eval" or (kind == "inspect" or _is_inspect(path)):
        with _as_written(path, "inspect"):
            return Recording("inspect", list(_inspect(path)))
    rows = list(table_rows(path))
    first = rows[0].cells if rows else {}
    for name, (fits, read) in KINDS.items():
        if kind == name or (kind is None and fits(first)):
            with _as_written(path, name):
                return read(rows)
    return None


@contextmanager
def _as_written(path: Path, kind: str) -> Iterator[None]:
    """Records whose parts are of other types than the program writes are no records of it."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DataError(
            f"{path}: a record is not as {kind} writes it ({type(error).__name__}: {error}); name the "
            "columns and pass --format table for another table"
        ) from error


def _lm_eval(rows: list[Row]) -> Recording:
    """``--log_samples`` of lm-evaluation-harness: generated texts, or a log-likelihood for each option."""
    made = []
    stated = False
    for row in rows:
        cells = row.cells
        doc = cells.get("doc")
        doc = doc if isinstance(doc, Mapping) else {}
        arguments = _arguments(cells.get("arguments"))
        likelihoods = _likelihoods(cells)
        new: dict[str, Any] = {
            "id": cells.get("doc_id"),
            "question": _first(doc, "question", "query", "problem", "input")
            or (arguments[:1] and arguments[0][0]),
            "kind": _first(doc, "category", "subject", "topic"),
        }
        target = cells.get("target")
        if likelihoods:
            choices = _choices(doc)
            said = [text(continuation) for _, continuation in arguments][: len(likelihoods)]
            options = choices if len(choices) == len(likelihoods) else said
            if len(options) != len(likelihoods):
                raise DataError(
                    f"{row.where}: {len(likelihoods)} log-likelihoods and no texts for them"
                )
            best = max(range(len(options)), key=likelihoods.__getitem__)
            weights = [math.exp(value - likelihoods[best]) for value in likelihoods]
            new |= {
                "options": options,
                "answer": options[best],
                "gold": [_target(target, options, said)],
                SHARE: weights[best] / math.fsum(weights),
            }
            stated = True
        else:
            new |= {
                "answer": _response(cells),
                "gold": target if isinstance(target, list) else [text(target)],
            }
            options = _choices(doc)
            letters = [_LETTER.fullmatch(text(gold)) for gold in new["gold"]]
            if options and (all(letters) or set(map(text, new["gold"])) <= set(options)):
                new["options"] = options
        made.append(row._replace(cells={**cells, **new}))
    return Recording("lm_eval", made, confidence=(SHARE,) if stated else ())


def _arguments(given: Any) -> list[tuple[str, str]]:
    """Contexts and continuations; written as lists, or as objects with "arg_0" and "arg_1"."""
    entries = (
        given.values() if isinstance(given, Mapping) else given if isinstance(given, list) else ()
    )
    found = []
    for entry in entries:
        parts = list(entry.values()) if isinstance(entry, Mapping) else entry
        if isinstance(parts, list) and parts:
            found.append((text(parts[0]), text(parts[1]) if len(parts) > 1 else ""))
    return found


def _likelihoods(cells: Mapping[str, Any]) -> list[float]:
    """A log-likelihood for each option, written as [[-1.5, true], ...], with or without another list."""
    for name in ("filtered_resps", "resps"):
        entries = cells.get(name)
        if not isinstance(entries, list) or len(entries) < 2:
            continue
        pairs = [
            e[0] if isinstance(e, list) and len(e) == 1 and isinstance(e[0], list) else e
            for e in entries
        ]
        if all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            try:
                values = [float(pair[0]) for pair in pairs]
            except (TypeError, ValueError):
                continue
            if all(str(pair[1]).lower() in ("true", "false", "0", "1") for pair in pairs):
                return values
    return []


def _response(cells: Mapping[str, Any]) -> str:
    for name in ("resps", "filtered_resps"):
        value: Any = cells.get(name)
        while isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str):
            return value
    return ""


def _choices(doc: Mapping[str, Any]) -> list[str]:
    found = _first(doc, "choices", "options", "endings")
    if isinstance(found, Mapping):
        found = found.get("text")
    if isinstance(found, list) and all(isinstance(each, str | int | float) for each in found):
        return [text(each) for each in found]
    return [text(doc[column]) for column in letter_columns(doc) if text(doc[column])]


def _target(target: Any, options: list[str], said: list[str]) -> str:
    """The option that is meant by its place, its text or its letter."""
    written = text(target)
    for texts in (options, said):
        if written in texts:
            return options[texts.index(written)]
    if written.isdigit() and int(written) < len(options):
        return options[int(written)]
    letter = _LETTER.fullmatch(written)
    place = ord(letter[1]) - ord("A") if letter else len(options)
    if place < len(options):
        return options[place]
    raise DataError(f'the target "{written}" is none of the options {options}')


def _first(doc: Mapping[str, Any], *names: str) -> Any:
    return next((doc[name] for name in names if doc.get(name) not in (None, "")), None)


def _vlmevalkit(rows: list[Row]) -> Recording:
    """Predictions of VLMEvalKit: options in columns A, B, ..., the gold in "answer", verdicts in "hit"."""
    made = []
    for row in rows:
        cells = row.cells
        said = text(cells.get("prediction"))
        new: dict[str, Any] = {
            "id": cells.get("index"),
            "question": cells.get("question"),
            "answer": said,
            "gold": [text(cells.get("answer"))],
            "kind": _first(cells, "category", "l2-category", "split"),
            "image": cells.get("image_path") or cells.get("image") or "",
            "hit": cells.get("hit"),
        }
        options = [text(cells[name]) for name in letter_columns(cells)]
        while options and options[-1].lower() in ("", "nan"):
            options.pop()
        if len(options) > 1:
            new["options"] = options
        if said.startswith("Failed to obtain answer"):
            new[FAILED] = said
        made.append(row._replace(cells={**cells, **new}))
    return Recording("vlmevalkit", made, correct="hit" if "hit" in rows[0].cells else None)


def decoded_images(rows: Iterable[Row], column: str, folder: Path) -> dict[str, str]:
    """Images that stand in a column as base64, written to ``folder``; from the row's id to the file's path.

    A cell that is another row's id stands for that row's image, as in MMBench.

    Raises:
        DataError: A cell is neither.
    """
    written: dict[str, str] = {}
    later: dict[str, str] = {}
    for row in rows:
        name, cell_ = text(cell(row.cells, "index")) or str(row.number), text(row.cells.get(column))
        if len(cell_) < 64:
            later[name] = cell_
            continue
        try:
            content = base64.b64decode(cell_.partition("base64,")[2] or cell_, validate=True)
        except (binascii.Error, ValueError) as error:
            raise DataError(f'{row.where}: "{column}" is no base64 ({error})') from error
        ending = "png" if content.startswith(b"\x89PNG") else "jpg"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{re.sub(r'[^A-Za-z0-9_-]', '_', name)}.{ending}"
        file.write_bytes(content)
        written[name] = str(file)
    for name, other in later.items():
        if other in written:
            written[name] = written[other]
    return written


def _batch(rows: list[Row]) -> Recording:
    """Output of an OpenAI batch; the gold answers stand in another file (``--join``)."""
    made = []
    for row in rows:
        cells = row.cells
        body = cell(cells, "response.body")
        body = body if isinstance(body, Mapping) else {}
        said = cell(body, "choices.0.message.content")
        if isinstance(said, list):
            said = "".join(text(part.get("text")) for part in said if isinstance(part, Mapping))
        if said is None and isinstance(body.get("output"), list):
            parts = [
                p
                for item in body["output"]
                for p in (item.get("content") or [])
                if isinstance(item, dict)
            ]
            said = "".join(text(part.get("text")) for part in parts if isinstance(part, Mapping))
        new: dict[str, Any] = {"id": cells.get("custom_id"), "answer": said or ""}
        error = cell(cells, "error.message") or cell(body, "error.message")
        code = cell(cells, "response.status_code")
        if error or code not in (None, 200):
            new[FAILED] = text(error) or f"status {code}"
        made.append(row._replace(cells={**cells, **new}))
    return Recording("openai_batch", made)


def _messages(rows: list[Row]) -> Recording:
    """Results of Anthropic's Message Batches; the gold answers stand in another file, too."""
    made = []
    for row in rows:
        told = row.cells.get("result")
        result = told if isinstance(told, Mapping) else {}
        said = _said(cell(result, "message.content"))
        new: dict[str, Any] = {"id": row.cells.get("custom_id"), "answer": said}
        if result.get("type") != "succeeded":
            new[FAILED] = text(cell(result, "error.error.message")) or text(result.get("type"))
        made.append(row._replace(cells={**row.cells, **new}))
    return Recording("anthropic_batch", made)


def _is_inspect(path: Path) -> bool:
    if suffix_of(path) != ".json" or not path.is_file():
        return False
    with text_of(path) as stream:
        return stream.read(1) == "{"


def _inspect(path: Path) -> Iterator[Row]:
    """Samples of a log of inspect_ai, as .json or .eval; of several epochs each is a row of its own."""
    for number, sample in enumerate(_samples(path), 1):
        asked = sample.get("input")
        if isinstance(asked, list):
            asked = next(
                (_said(m.get("content")) for m in reversed(asked) if m.get("role") == "user"), ""
            )
        epoch = sample.get("epoch", 1)
        choices = [text(choice) for choice in sample.get("choices") or []]
        target = sample.get("target")
        gold = target if isinstance(target, list) else [text(target)]
        new: dict[str, Any] = {
            "id": f"{text(sample.get('id'))}" + (f"#{epoch}" if epoch not in (1, None) else ""),
            "question": asked,
            "gold": gold,
            "answer": _said(cell(sample, "output.choices.0.message.content"))
            or text(cell(sample, "output.completion")),
            "group": text(sample.get("id")),
            "kind": _first(sample.get("metadata") or {}, "category", "subject", "topic"),
        }
        if choices:
            new["options"] = choices
            letters = [_LETTER.fullmatch(text(each)) for each in gold]
            new["gold"] = [choices[ord(m[1]) - 65] if m and ord(m[1]) - 65 < len(choices) else text(g)
                           for m, g in zip(letters, gold, strict=True)]  # fmt: skip
        if sample.get("error"):
            new[FAILED] = text(cell(sample, "error.message")) or "error"
        yield Row(f"{path}: sample {number}", number, new)


def _samples(path: Path) -> list[dict[str, Any]]:
    try:
        if path.suffix == ".eval":
            with zipfile.ZipFile(path) as packed:
                unpacked = sum(entry.file_size for entry in packed.infolist())
                require_honest(unpacked, path.stat().st_size)
                names = sorted(n for n in packed.namelist() if n.startswith("samples/"))
                return [parse_json(packed.read(name)) for name in names]
        with text_of(path) as stream:
            log = parse_json(stream.read())
    except (zipfile.BadZipFile, DataError, ValueError, NotImplementedError) as error:
        raise DataError(f"{path}: not a log of inspect_ai ({error})") from error
    samples = log.get("samples") if isinstance(log, Mapping) else None
    if not isinstance(samples, list) or not all(isinstance(each, dict) for each in samples):
        raise DataError(
            f"{path}: expected a list of records, or a log of inspect_ai with samples, got an object with "
            f"{', '.join(list(log)[:5])}"
        )
    return samples


def _said(content: Any) -> str:
    """Text of a message; thoughts are parts of their own and are left out."""
    if isinstance(content, list):
        parts = [p for p in content if isinstance(p, Mapping) and p.get("type", "text") == "text"]
        return "".join(text(part.get("text")) for part in parts)
    return text(content)


Fits = Callable[[Mapping[str, Any]], bool]
KINDS: Mapping[str, tuple[Fits, Callable[[list[Row]], Recording]]] = {
    "lm_eval": (lambda c: "doc" in c and ("resps" in c or "filtered_resps" in c), _lm_eval),
    "vlmevalkit": (
        lambda c: "prediction" in c and "answer" in c and ("index" in c or "hit" in c),
        _vlmevalkit,
    ),
    "openai_batch": (lambda c: "custom_id" in c and "response" in c, _batch),
    "anthropic_batch": (lambda c: "custom_id" in c and "result" in c, _messages),
    "inspect": (lambda c: False, lambda rows: Recording("inspect", rows)),
}
