"""Fuzz targets: a reader each, files to start from, and what may come out of it, which is a VlmcalError.

A test tries a few inputs of each; ``make fuzz`` (``python tests/hostile/fuzzing.py --seconds 60``) tries new
ones for a bounded time and prints those that end otherwise.
"""

import argparse
import io
import json
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent.parent))

from hostile.inputs import CAL, FIT, GOOD, QUESTION, SETS, npz, png, zipped
from vlmcal.errors import VlmcalError

TOKENS = (
    *(
        b"",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n\n",
        b'"',
        b"'",
        b",",
        b"\t",
        b";",
        b":",
    ),
    *(
        b"nan",
        b"inf",
        b"-1",
        b"1e999",
        b"9" * 40,
        b"true",
        b"null",
        b"{}",
        b"[]",
        b"[",
        b"}",
        b"\\ud800",
    ),
    *(
        b"\\u0000",
        b"0.5",
        b"id",
        b"label",
        b"&a ",
        b"*a",
        b"- ",
        b"!!python/name:os.system",
        b"\xe2\x80\xa8",
    ),
)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.just(10**400)
    | st.floats()
    | st.sampled_from(
        ["", "cat", "nan", "Infinity", "os:system", "\ud800", "0.5", "yes", "A", "../x"]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["dtype", "shape", "data", "number", "name", "a"]), inner, max_size=3
        )
    ),
    max_leaves=4,
)


@st.composite
def mutated(draw, seeds):
    """One of the seeds with pieces cut out, doubled, replaced or with bits changed."""
    data = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        end = min(len(data), at + draw(st.integers(0, 12)))
        how = draw(st.sampled_from(["insert", "replace", "double", "cut", "flip"]))
        if how == "insert":
            data = data[:at] + draw(st.sampled_from(TOKENS)) + data[at:]
        elif how == "replace":
            data = data[:at] + draw(st.sampled_from(TOKENS)) + data[end:]
        elif how == "double":
            data = data[:end] + data[at:]
        elif how == "cut":
            data = data[:at] + (data[end:] if draw(st.booleans()) else b"")
        elif data and at < len(data):
            data = data[:at] + bytes([data[at] ^ (1 << draw(st.integers(0, 7)))]) + data[at + 1 :]
    return data


def places(value, path=()):
    """Where the parts of JSON data are."""
    yield path
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*path, index))


def replaced(value, path, other):
    """JSON data with another part in one place."""
    if not path:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], other)
    return copy


@st.composite
def restated(draw, seeds):
    """JSON data with a part that is otherwise."""
    value = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(1, 2))):
        path = draw(st.sampled_from(list(places(value))))
        value = replaced(value, path, draw(VALUES))
    return value


class Target(NamedTuple):
    """A reader.

    Attributes:
        read: Called with a file.
        suffix: Of the file.
        inputs: Strategy of contents.
    """

    read: Callable[[Path], object]
    suffix: str
    inputs: st.SearchStrategy


def rows(path):
    """Rows of any table."""
    from vlmcal.io.predictions import load_predictions

    return load_predictions(path, scores="probs")


def findings(path):
    """Rows of a table of findings that do not exclude each other."""
    from vlmcal.io.multi_label import read_multi_label

    return read_multi_label(path)


def calibrator(path):
    """A saved calibrator."""
    from vlmcal.calibrators.base import Calibrator

    return Calibrator.load(path)


def conformal(path):
    """A saved conformal method."""
    from vlmcal.conformal.base import ConformalPredictor

    return ConformalPredictor.load(path)


def spec(path):
    """An experiment."""
    from vlmcal.experiment.plan import plan
    from vlmcal.experiment.spec import load_spec

    return plan(load_spec(path))


def questions(path):
    """Questions of any layout."""
    from vlmcal.data.vqa import load_questions

    return load_questions(path)


def reply(path):
    """What a model said."""
    from vlmcal.elicit.parse.answers import parse_answer
    from vlmcal.elicit.parse.guesses import parse_guesses
    from vlmcal.elicit.parse.numbers import parse_confidence
    from vlmcal.elicit.parse.thoughts import said
    from vlmcal.types.question import Question

    text = path.read_bytes().decode(
        "utf-8", "surrogatepass" if b"\xed" in path.read_bytes() else "replace"
    )
    options = ("a cat", "a dog", "none")
    for question in (
        Question(id="1", question="?", answer_type="yes_no", gold=("yes",)),
        Question(id="2", question="?", answer_type="choice", options=options, gold=("A",)),
        Question(id="3", question="?", answer_type="open", gold=("cat",)),
    ):
        parse_answer(said(text).answer, question)
        for scale in ("percent", "unit", "ten"):
            parse_confidence(text, scale)
            parse_guesses(text, question, scale)


def served(path):
    """What a server of one of the dialects sent."""
    from vlmcal.elicit.models.base import TransientError
    from vlmcal.elicit.models.completions import read_complaint, read_completion
    from vlmcal.elicit.models.native import NATIVE
    from vlmcal.elicit.models.secrets import without_key
    from vlmcal.io.json_text import parse_reply

    content = path.read_bytes()
    read_complaint(content)
    try:
        data = parse_reply(content)
    except ValueError:
        return
    for dialect in (lambda sent: sent, *(native.read for native in NATIVE.values())):
        try:
            response = read_completion(dialect(data), logprobs=True).response
        except TransientError:
            continue
        json.dumps(without_key(response, "sk-" + "a" * 20).to_dict(), ensure_ascii=False).encode()


def log(path):
    """Answers of another program."""
    from vlmcal.elicit.imported import Columns, import_answers

    return import_answers(path, Columns())


def answers(path):
    """A file of answers of our own."""
    from vlmcal.elicit.answers import load_answers

    return load_answers(path)


def responses(path):
    """A log of responses of our own, whose damaged lines are left aside."""
    from vlmcal.elicit.response_log import ResponseLog

    with ResponseLog(path) as found:
        return [found.get(key) for key in list(found._places)]


def split(path):
    """A split file of CoOp."""
    from vlmcal.data.coop_split import coop_split

    return coop_split(path)


def manifest(path):
    """A table of images."""
    from vlmcal.data.manifest import manifest as load

    return load(path)


def picture(path):
    """An image."""
    from vlmcal.io.images import read_image

    return read_image(path)


SPEC = {
    "data": {"name": "digits", "per_class": 3},
    "method": ["coop", {"name": "zero_shot"}],
    "objective": [["ce", {"name": "tcpt", "weight": 0.5}]],
    "shots": [1, 2],
    "seed": "1..3",
    "train": {"epochs": 2, "lr": 0.1},
    "evaluate": {"calibrators": ["none", "temperature"], "metrics": "basic", "alpha": 0.1},
}
RECORDS = [
    {"label": "cat", "cat": 0.25, "dog": 0.75, "id": "a"},
    {"label": "dog", "cat": 0.5, "dog": 0.5, "id": "b"},
]
NESTED = {"classes": ["cat", "dog"], "label": ["dog", "cat"], "probs": [[0.25, 0.75], [0.5, 0.5]]}
LOGS = [
    {
        "id": "1",
        "question": "Is it?",
        "answer": "yes",
        "gold": "yes",
        "confidence": 0.5,
        "options": ["a"],
    },
    {
        "doc_id": 1,
        "doc": {"question": "Is it?"},
        "target": "A",
        "resps": ["A"],
        "arguments": [["q", "A"]],
    },
    {"eval": {"task": "t"}, "samples": [{"id": 1, "input": "Is it?", "target": "A", "output": {}}]},
    {"custom_id": "1", "response": {"body": {"choices": [{"message": {"content": "yes"}}]}}},
]
ANSWER = {
    "question": "1",
    "elicitor": "verbalized",
    "status": "answered",
    "answer": "yes",
    "confidence": 0.5,
}
SAID = {"text": "yes", "status": "ok"}
RESPONSE = {"schema": 1, "key": "k", "status": "ok", "response": SAID, "request": {}}
LIKELY = {"token": "no", "logprob": -0.1, "top_logprobs": [{"token": "no", "logprob": -0.1}]}
GUESSED = {"token": "no", "logProbability": -0.1}
# By dialect: OpenAI, Anthropic, Gemini, Ollama, Responses.
SERVED = [
    {
        "choices": [
            {
                "message": {"content": "no", "reasoning": "Hm.", "refusal": None},
                "finish_reason": "stop",
                "logprobs": {"content": [{**LIKELY, "bytes": [110, 111]}]},
            }
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens_details": {"reasoning_tokens": 1}},
        "model": "m",
    },
    {
        "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "no"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 3, "output_tokens": 2, "cache_read_input_tokens": 1},
    },
    {
        "candidates": [
            {
                "content": {"parts": [{"text": "Hm.", "thought": True}, {"text": "no"}]},
                "finishReason": "STOP",
                "logprobsResult": {
                    "chosenCandidates": [GUESSED],
                    "topCandidates": [{"candidates": [GUESSED]}],
                },
            }
        ],
        "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2},
        "promptFeedback": {"blockReason": None},
    },
    {"message": {"content": "no", "thinking": "Hm."}, "logprobs": [LIKELY], "eval_count": 2},
    {
        "output": [
            {"type": "reasoning", "summary": [{"text": "Hm."}]},
            {
                "type": "message",
                "content": [{"type": "output_text", "text": "no", "logprobs": [LIKELY]}],
            },
        ],
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "usage": {"input_tokens": 3, "output_tokens_details": {"reasoning_tokens": 1}},
    },
    {"error": {"message": "No.", "code": 400, "param": "seed"}},
]
SPLIT = {part: [["a.png", 0, "cat"], ["b.png", 1, "dog"]] for part in ("train", "val", "test")}
REPLIES = (
    "Yes.\nConfidence: 70%",
    '```json\n{"answer": "B", "confidence": 0.8}\n```',
    "<think>maybe</think>**Answer:** (A) a cat\nConfidence: 7/10",
    "G1: cat P1: 0.5\nG2: dog P2: 0.25",
    "I cannot tell from this image.",
    "Ja, 80 Prozent.",
)


def as_json(value):
    """JSON text, with NaN and lone surrogates as Python writes them."""
    return json.dumps(value).encode()


def as_yaml(value):
    """YAML text."""
    return yaml.safe_dump(value).encode("utf-8", "replace")


def lines(values):
    """JSON lines."""
    return b"".join(as_json(v) + b"\n" for v in (values if isinstance(values, list) else [values]))


def parquet():
    """A small Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet

    sink = io.BytesIO()
    pyarrow.parquet.write_table(pa.Table.from_pylist(RECORDS), sink)
    return sink.getvalue()


def pictures():
    """A small picture in each of the usual forms."""
    from PIL import Image

    found, exif = [], Image.Exif()
    exif[0x112] = 6
    for form in ("JPEG", "TIFF", "WEBP", "PNG", "GIF", "BMP", "PPM"):
        sink = io.BytesIO()
        Image.linear_gradient("L").resize((6, 4)).save(sink, form, exif=exif)
        found.append(sink.getvalue())
    return found


def workbook():
    """A small workbook."""
    from openpyxl import Workbook

    book, sink = Workbook(), io.BytesIO()
    book.active.append(["label", "cat", "dog"])
    book.active.append(["cat", 0.25, 0.75])
    book.save(sink)
    return sink.getvalue()


def sealed_state(value):
    """Saved state whose checksum fits, so that what it says is looked at."""
    from vlmcal.io.state_files import sealed

    return as_json(sealed(value) if isinstance(value, dict) else value)


def npy(array):
    """An NPY file."""
    sink = io.BytesIO()
    np.save(sink, array)
    return sink.getvalue()


TABLE = GOOD.encode()
PLATT = {**CAL, "calibrator": "platt", "state": {"curves_": [{"slope": 1.0, "intercept": 0.5}]}}
STEPS = {"dtype": "float64", "shape": [2], "data": [0.1, 0.9]}
STAIRS = {**CAL, "calibrator": "isotonic", "state": {"curves_": [{"x": STEPS, "y": STEPS}]}}
ANY = b"id,question,answer,gold,confidence\n1,Is it?,yes,yes,0.9\n2,Is it?,no,yes,0.4\n"
SEEN = b"id,a,b,a_true,b_true\n1,0.5,0.25,1,0\n2,0.1,0.9,,1\n"
IMAGES = b"image,label,split,patient\na.png,cat,train,1\nb.png,dog,test,2\n"
ASKED = b"id,question,A,B,answer,image\n1,Is it?,yes,no,A,\n"
TARGETS = {
    "csv": Target(rows, ".csv", mutated([TABLE, TABLE.replace(b",", b";"), GOOD.encode("utf-16")])),
    "tsv": Target(rows, ".tsv", mutated([TABLE.replace(b",", b"\t")])),
    "json": Target(rows, ".json", restated([RECORDS, NESTED, {"rows": RECORDS}]).map(as_json)),
    "json text": Target(rows, ".json", mutated([as_json(RECORDS), as_json(NESTED)])),
    "jsonl": Target(rows, ".jsonl", restated([RECORDS]).map(lines)),
    "parquet": Target(rows, ".parquet", mutated([parquet()])),
    "xlsx": Target(rows, ".xlsx", mutated([workbook()])),
    "npz": Target(
        rows, ".npz", mutated([npz(**{**FIT, "logits": np.full((30, 2), 0.5)}), zipped(a=b"1")])
    ),
    "npy": Target(rows, ".npy", mutated([npy(np.full((3, 2), 0.5))])),
    "findings": Target(findings, ".csv", mutated([SEEN, TABLE])),
    "calibrator": Target(calibrator, ".json", restated([CAL, PLATT, STAIRS]).map(sealed_state)),
    "conformal": Target(conformal, ".json", restated([SETS]).map(sealed_state)),
    "state text": Target(calibrator, ".json", mutated([sealed_state(CAL)])),
    "spec": Target(spec, ".yaml", restated([SPEC]).map(as_yaml)),
    "spec text": Target(spec, ".yaml", mutated([yaml.safe_dump(SPEC).encode()])),
    "questions": Target(questions, ".jsonl", restated([[QUESTION]]).map(lines)),
    "questions csv": Target(questions, ".csv", mutated([ASKED])),
    "reply": Target(reply, ".txt", mutated([text.encode() for text in REPLIES])),
    "reply json": Target(
        reply, ".txt", restated([{"answer": "B", "confidence": 0.8}]).map(as_json)
    ),
    "served": Target(served, ".json", restated(SERVED).map(as_json)),
    "served text": Target(served, ".json", mutated([as_json(each) for each in SERVED])),
    "log json": Target(
        log, ".json", restated([[LOGS[0]], [LOGS[1]], LOGS[2], [LOGS[3]]]).map(as_json)
    ),
    "log jsonl": Target(log, ".jsonl", restated([[each] for each in LOGS]).map(lines)),
    "log csv": Target(log, ".csv", mutated([ANY])),
    "answers": Target(answers, ".jsonl", restated([[ANSWER]]).map(lines)),
    "responses": Target(responses, ".jsonl", restated([[RESPONSE]]).map(lines)),
    "responses text": Target(responses, ".jsonl", mutated([lines([RESPONSE, RESPONSE])])),
    "split": Target(split, ".json", restated([SPLIT]).map(as_json)),
    "manifest": Target(manifest, ".csv", mutated([IMAGES])),
    "image": Target(picture, ".png", mutated([png(4, 4, zlib.compress(b"\0" * 52))])),
    # Pillow goes by the first bytes, not by the name.
    "image forms": Target(picture, ".png", mutated(pictures())),
}


def attempt(target: Target, data: bytes) -> None:
    """Read ``data``; anything but a result or a VlmcalError is raised."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder, f"input{target.suffix}")
        path.write_bytes(data)
        try:
            target.read(path)
        except VlmcalError as error:
            str(error).encode("utf-8", "backslashreplace")


def fuzz(name: str, examples: int, number: int) -> None:
    """Try so many inputs of a target; the smallest that fails is raised."""
    target = TARGETS[name]

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(target.inputs)
    def run(data: bytes) -> None:
        attempt(target, data)

    run()


def main() -> int:
    """Fuzz the named targets, or all, in turn until the time is over."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("targets", nargs="*", help=f"of {', '.join(TARGETS)}; all by default")
    parser.add_argument("--seconds", type=float, default=300.0, help="in all")
    parser.add_argument("--examples", type=int, default=100, help="of one target in one turn")
    given_ = parser.parse_args()
    names = given_.targets or list(TARGETS)
    end, turn, tried, failures = time.monotonic() + given_.seconds, 0, dict.fromkeys(names, 0), {}
    while time.monotonic() < end and len(failures) < len(names):
        for name in names:
            if name in failures or time.monotonic() > end:
                continue
            try:
                fuzz(name, given_.examples, int(time.time()) + turn)
            except Exception:
                failures[name] = traceback.format_exc()
                print(f"{name}:\n{failures[name][-1800:]}", flush=True)
            tried[name] += given_.examples
        turn += 1
    for name in names:
        print(f"{name}: {tried[name]} inputs{', FAILED' if name in failures else ''}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
