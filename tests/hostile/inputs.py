"""Files that are not what they should be, for the table of commands beside this module."""

import gzip
import io
import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vlmcal.io.predictions import save_predictions
from vlmcal.io.questions import save_questions
from vlmcal.types.predictions import Predictions
from vlmcal.types.question import Question, QuestionSet

HEAD = "id,label,site,cat,dog\n"
ROWS = "".join(
    f"r{i},{'cat' if i % 3 else 'dog'},s{i % 4},0.{50 + i},0.{50 - i}\n" for i in range(30)
)
GOOD = HEAD + ROWS
DEEP = "[" * 100_000 + "]" * 100_000


def changed(old: str, new: str) -> str:
    """The good table with one cell that is otherwise."""
    assert old in GOOD
    return GOOD.replace(old, new, 1)


def npy_header(shape: tuple[int, ...], kind: str = "<f8") -> bytes:
    """An NPY file that announces ``shape`` and holds nothing."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()


def zipped(**members: bytes) -> bytes:
    """A ZIP archive."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


def locked(archive: bytes) -> bytes:
    """An archive that says that it is encrypted."""
    head, entry = b"PK\x03\x04\x14\x00", b"PK\x01\x02\x14\x03\x14\x00"
    return archive.replace(head + b"\0", head + b"\1").replace(entry + b"\0", entry + b"\1")


def npz(**arrays: object) -> bytes:
    """An NPZ archive."""
    sink = io.BytesIO()
    np.savez(sink, **arrays)
    return sink.getvalue()


def png(width: int, height: int, content: bytes = b"") -> bytes:
    """A PNG that announces a size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        whole = kind + data
        return struct.pack(">I", len(data)) + whole + struct.pack(">I", zlib.crc32(whole))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", content) + chunk(b"IEND", b"")


LOGITS = np.random.default_rng(0).normal(size=(30, 2))
FIT = {"logits": LOGITS, "labels": np.arange(30) % 2, "class_names": np.array(["cat", "dog"])}
CAL = {
    "format": 2,
    "calibrator": "temperature",
    "parameters": {},
    "state": {"temperature_": 2.0, "nll_": 0.5, "bounded_": "", "steps_": 3},
    "messages": [],
    "fitted_on": {"split": "val", "n": 9, "class_names": ["cat", "dog"]},
}
SETS = {
    "format": 2,
    "conformal": "lac",
    "alpha": 0.1,
    "parameters": {},
    "state": {"threshold_": 0.5},
    "messages": [],
    "fitted_on": {"split": "val", "n": 9, "class_names": ["cat", "dog"]},
}


def state(base: dict, **changes: object) -> str:
    """Saved state with a part that no fit gives."""
    learned = {key: value for key, value in changes.items() if key.endswith("_")}
    rest = {key: value for key, value in changes.items() if not key.endswith("_")}
    return json.dumps({**base, "state": {**base["state"], **learned}, **rest})


SPEC = "data: {name: digits}\nmethod: coop\nshots: 1\n"
QUESTION = {
    "id": "q1",
    "question": "Is it there?",
    "options": ["yes", "no"],
    "image": "x.png",
    "answer": "A",
}

FILES: dict[str, str | bytes] = {
    # tables
    "good.csv": GOOD,
    "empty.csv": "",
    "blank.csv": "\n\n\n",
    "head.csv": HEAD,
    "nul.csv": GOOD.encode() + b"\0\0\0",
    "binary.csv": bytes(range(256)) * 40,
    "png.csv": png(4, 4),
    "zip.csv": zipped(a=b"1"),
    "html.csv": "<!DOCTYPE html><html><body>404</body></html>\n",
    "lfs.csv": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n",
    "utf16.csv": GOOD.encode("utf-16-le"),
    "quote.csv": changed("r4,", '"r3,'),
    "ragged.csv": changed("r4,cat", "r4,cat,more,cells,here,and,there"),
    "short.csv": changed("r4,cat,s0,0.54,0.46", "r4,cat"),
    "twice.csv": GOOD.replace("id,label,site,cat,dog", "id,label,site,cat,cat", 1),
    "unnamed.csv": GOOD.replace("id,label,site,cat,dog", "id,label,site,cat,", 1),
    "words.csv": changed("0.54", "often"),
    "nan.csv": changed("0.54", "nan"),
    "blankcell.csv": changed("0.54", ""),
    "inf.csv": changed("0.54", "inf"),
    "negative.csv": changed("0.54,0.46", "-0.53,1.53"),
    "above.csv": changed("0.54,0.46", "1.53,0.47"),
    "sum.csv": changed("0.54,0.46", "0.54,0.40"),
    "huge.csv": changed("0.54", "9" * 400),
    "label_nan.csv": changed("r4,cat", "r4,nan"),
    "label_empty.csv": changed("r4,cat", "r4,"),
    "label_other.csv": changed("r4,cat", "r4,owl"),
    "ids_twice.csv": changed("r4,", "r5,"),
    "id_empty.csv": changed("r4,", ","),
    "no_label.csv": GOOD.replace("id,label", "id,verdict", 1),
    "no_scores.csv": "id,label\n" + "".join(f"r{i},cat\n" for i in range(9)),
    "one_column.csv": "label\ncat\ndog\n",
    "nan_class.csv": GOOD.replace("cat", "nan"),
    "unseen.csv": GOOD.replace("cat", "\u200b"),
    "label_na.csv": changed("r4,cat", "r4,N/A"),
    "latin.jsonl": '{"label":"ch\xe4t","ch\xe4t":0.5,"dog":0.5}\n'.encode("latin-1"),
    "latin.json": '[{"label":"ch\xe4t","ch\xe4t":0.5,"dog":0.5}]'.encode("latin-1"),
    "sjis.csv": GOOD.replace("cat", "ねこ").encode("cp932"),
    "gbk.tsv": GOOD.replace("cat", "猫咪").replace(",", "\t").encode("gbk"),
    "gbk.json": '[{"label":"猫咪","猫咪":0.5,"dog":0.5}]'.encode("gbk"),
    "wide.jsonl": '{"id":"1","question":"Is it?"}\n'.encode("utf-16-le"),
    "wide.yaml": SPEC.encode("utf-32-be"),
    "cyrillic.yaml": ("# кошка\n" + SPEC).encode("cp1251"),
    "names_latin.txt": "a ch\xe4t\nb dog\n".encode("latin-1"),
    "script_latin.jsonl": '{"reply": "ch\xe4t"}\n'.encode("latin-1"),
    "prices_latin.yaml": "# f\xfcr\nm: {in: 1, out: 2}\n".encode("latin-1"),
    "commas.csv": ",\n",
    "q_long.jsonl": json.dumps({**QUESTION, "image": "x" * 5000}) + "\n",
    "q_nul.jsonl": json.dumps({**QUESTION, "image": "a\0.png"}) + "\n",
    "q_link.jsonl": json.dumps({**QUESTION, "image": "link.png"}) + "\n",
    "manifest_long.csv": "image,label\n" + "x" * 5000 + ",a\nimages/a/0.png,b\n",
    "bomb.csv.gz": gzip.compress(GOOD.encode() + b" " * (65 << 20)),
    "bomb.xlsx": zipped(**{"xl/workbook.xml": b" " * (65 << 20)}),
    "lone.csv": "label,risk\n" + "".join(f"{i % 2},0.{i + 10}\n" for i in range(30)),
    "confident.csv": "correct,confidence\n" + "".join(f"{i % 2},0.{i + 10}\n" for i in range(30)),
    "truth.csv": "id,label\n" + "".join(f"r{i},{'cat' if i % 3 else 'dog'}\n" for i in range(30)),
    "deep.json": DEEP,
    "deep.jsonl": DEEP + "\n",
    "not.json": "{'a': 1}",
    "number.json": "3",
    "nothing.json": "null",
    "cut.json": '[{"label": "cat", "cat": 0.5, "dog"',
    "constant.json": '[{"label": "cat", "cat": NaN, "dog": 0.5}]',
    "half.jsonl": '{"label": "cat", "cat": 0.5, "dog": 0.5}\n{"label": "cat", "cat": 0.5,',
    "list.jsonl": "[1, 2]\n[3, 4]\n",
    "surrogate.jsonl": '{"label": "\\ud800", "cat": 0.5, "dog": 0.5}\n',
    "cut.csv.gz": gzip.compress(GOOD.encode() * 9)[:-40],
    "not.csv.gz": GOOD,
    "head.csv.gz": b"\x1f\x8b\x08",
    "cut.parquet": b"PAR1" + b"\0" * 40,
    "not.parquet": GOOD,
    "not.xlsx": GOOD,
    "cut.xlsx": zipped(**{"xl/workbook.xml": b"<workbook/>"})[:-30],
    "other.xlsx": zipped(**{"a.txt": b"1"}),
    "old.xls": b"\xd0\xcf\x11\xe0" + b"\0" * 100,
    "surrogate_key.jsonl": '{"label": "cat", "\\ud800": 0.5, "dog": 0.5}\n',
    "none": GOOD,
    # arrays
    "good.npz": npz(**FIT),
    "cut.npz": npz(**FIT)[:200],
    "not.npz": GOOD,
    "pickle.npz": npz(**{**FIT, "logits": np.array([[1, "a"]] * 30, dtype=object)}),
    "bomb.npz": zipped(
        **{"logits.npy": npy_header((10**9, 10**4)), "labels.npy": npy_header((30,), "<i8")}
    ),
    "overflow.npz": zipped(**{"logits.npy": npy_header((2**62, 2**62))}),
    "text.npz": npz(**{**FIT, "logits": np.array([["a", "b"]] * 30)}),
    "cube.npz": npz(**{**FIT, "logits": LOGITS[:, :, None]}),
    "flat.npz": npz(**{**FIT, "logits": LOGITS[:, 0]}),
    "short.npz": npz(**{**FIT, "labels": FIT["labels"][:7]}),
    "outside.npz": npz(**{**FIT, "labels": FIT["labels"] + 7}),
    "minus.npz": npz(**{**FIT, "labels": FIT["labels"] - 2}),
    "names.npz": npz(**{**FIT, "class_names": np.array(["cat", "dog", "owl"])}),
    "same.npz": npz(**{**FIT, "class_names": np.array(["cat", "cat"])}),
    "nan.npz": npz(**{**FIT, "logits": np.where(LOGITS > 1, np.nan, LOGITS)}),
    "empty.npz": npz(),
    "dir.npz": zipped(**{"a/": b""}),
    "encrypted.npz": locked(zipped(**{"logits.npy": b"123"})),
    "token.npy": npy_header((3, 2)).replace(b"{'descr'", b"[{'desc"),
    "not.npy": GOOD,
    "cut.safetensors": b"\x08\0\0\0\0\0\0\0{}",
    "not.safetensors": GOOD,
    # saved methods
    "cal_minus.json": state(CAL, temperature_=-2),
    "cal_inf.json": state(CAL, temperature_={"number": "Infinity"}),
    "cal_true.json": state(CAL, temperature_=True),
    "cal_text.json": state(CAL, temperature_="2"),
    "cal_null.json": state(CAL, temperature_=None),
    "cal_nan.json": state(CAL, temperature_={"number": "NaN"}),
    "cal_future.json": state(CAL, format=9),
    "cal_true_format.json": state(CAL, format=True),
    "cal_unknown.json": state(CAL, calibrator="temprature"),
    "cal_code.json": state(CAL, calibrator="os:system"),
    "cal_nameless.json": state(CAL, calibrator=""),
    "sets_nameless.json": state(SETS, conformal=""),
    "cal_option.json": state(CAL, parameters={"bins": 3}),
    "cal_sum.json": state(CAL),
    "cal_names.json": state(CAL, fitted_on={"split": "val", "n": 9, "class_names": "cat"}),
    "cal_test.json": state(CAL, fitted_on={"split": "what", "n": 9, "class_names": ["cat", "dog"]}),
    "cal_curves.json": state(CAL, calibrator="platt", state={"curves_": []}),
    "cal_empty.json": "{}",
    "cal_list.json": "[]",
    "cal_deep.json": DEEP,
    "cal_cut.json": state(CAL)[:90],
    "cal_constant.json": state(CAL, temperature_=float("nan")),
    "sets_nan.json": state(SETS, threshold_={"number": "NaN"}),
    "sets_text.json": state(SETS, threshold_="high"),
    "sets_alpha.json": state(SETS, alpha=2),
    "sets_future.json": state(SETS, format=9),
    "sets_code.json": state(SETS, conformal="os:system"),
    "sets_sum.json": state(SETS),
    # experiments
    "good.yaml": SPEC,
    "latin.yaml": ("# f\xfcr\n" + SPEC).encode("latin-1"),
    "utf16.yaml": SPEC.encode("utf-16"),
    "twice.yaml": SPEC + "shots: 2\n",
    "tag.yaml": SPEC + "seed: !!python/object/apply:os.system [id]\n",
    "deep.yaml": SPEC + f"seed: {'[' * 5000}{']' * 5000}\n",
    "empty.yaml": "",
    "list.yaml": "[1, 2]\n",
    "nul.yaml": SPEC + "seed: \0\n",
    "anchor.yaml": SPEC + "seed: &s [1, *s]\n",
    "bomb.yaml": "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join(['*' + a] * 10)}]\n"
        for a, b in zip("abcdef", "bcdefg", strict=True)
    )
    + SPEC,
    # finished runs and folders of answers that are none
    "run_bad/status.json": "{",
    "run_list/status.json": "[]",
    "run_half/status.json": '{"sets": [], "cell": {}}',
    "answers_bad/run.json": "{",
    "answers_bad/answers.jsonl": "\0\0\n{",
    "answers_list/run.json": '{"model": "m"}',
    "answers_list/answers.jsonl": "[]\n",
    "answers_other/run.json": '{"model": "m"}',
    "answers_other/answers.jsonl": '{"question": "1", "elicitor": "v", "status": "what"}\n',
    "answers_theirs/run.json": "not JSON",
    "answers_theirs/responses.jsonl": '{"id": 1, "text": "theirs"}\n',
    "answers_half/run.json": '{"model": "m"}',
    "answers_half/answers.jsonl": "",
    # questions, replies, logs
    "q_empty.jsonl": "",
    "q_list.jsonl": "[1]\n",
    "q_other.jsonl": '{"a": 1}\n',
    "q_deep.jsonl": DEEP + "\n",
    "q_cut.jsonl": json.dumps(QUESTION)[:40],
    "q_binary.jsonl": bytes(range(256)),
    "q_latin.jsonl": '{"id":"1","question":"F\xe4lt?"}\n'.encode("latin-1"),
    "q_outside.jsonl": json.dumps({**QUESTION, "image": "/etc/hostname"}) + "\n",
    "q_up.jsonl": json.dumps({**QUESTION, "image": "../../etc/hostname"}) + "\n",
    "q_missing.jsonl": json.dumps(QUESTION) + "\n",
    "q_number.jsonl": json.dumps({**QUESTION, "question": 3, "image": 7}) + "\n",
    "script.jsonl": '{"reply": "A"}\n',
    "script_bad.jsonl": '{"reply": 3}\n',
    "script_list.jsonl": "[1]\n",
    "log.csv": "id,question,answer,gold,confidence\n1,Is it?,yes,yes,0.9\n2,Is it?,no,yes,0.4\n",
    "log_words.csv": "id,question,answer,gold,confidence\n1,Is it?,yes,yes,very\n",
    "log_twice.csv": "id,question,answer,gold,confidence\n1,Is it?,yes,yes,0.9\n1,Is it?,no,yes,0.4\n",
    "log_empty.csv": "id,question,answer,gold,confidence\n",
    "log_wrong.json": '{"eval": {"task": 3}, "samples": "none"}',
    "log_null.json": "null",
    "log_input.json": '{"eval": {}, "samples": [{"id": 1, "input": [null], "target": "A"}]}',
    "log.eval": b"PK\x03\x04 cut",
    # images
    "images/a/bomb.png": png(60_000, 60_000, zlib.compress(b"\0" * 1000)),
    "images/a/0.png": png(4, 4, zlib.compress(b"\0" * 52)),
    "nan_folder/nan/0.png": png(4, 4, zlib.compress(b"\0" * 52)),
    "nan_folder/b/0.png": png(4, 4, zlib.compress(b"\0" * 26 + b"\1" * 26)),
    "images/b/cut.png": png(4, 4)[:20],
    "images/b/text.png": "not an image",
    "images/b/empty.png": "",
    "split_list.json": "[1, 2]",
    "split_wrong.json": '{"train": 3, "val": [], "test": []}',
    "split_row.json": '{"train": [["a/0.png", "zero", "a"]], "val": [], "test": []}',
    "split_unseen.json": json.dumps(
        {"train": [["a/0.png", 0, "\u200b"], ["b/1.png", 1, "b"]], "val": [], "test": []}
    ),
    "infinite.yaml": SPEC.replace("digits", "digits, per_class: .inf"),
    "date.yaml": SPEC.replace("digits", "digits, per_class: 2020-01-01"),
    "split_far.json": json.dumps(
        {"train": [["a/0.png", 0, "a"], ["b/1.png", 10**13, "b"]], "val": [], "test": []}
    ),
    "manifest_far.csv": "image,label,class\n" + f"0.png,0,a\n1.png,{10**13},b\n",
    "label_far.csv": changed("r4,cat", f"r4,{10**30}"),
    "split_outside.json": '{"train": [["/etc/hostname", 0, "a"]], "val": [], "test": []}',
    "manifest_image.csv": "image,label\nimages/a/0.png,a\nnowhere.png,b\n",
    "manifest_outside.csv": "image,label\n/etc/hostname,a\nimages/a/0.png,b\n",
    "manifest.csv": "path,label\nimages/a/0.png,a\nnowhere.png,b\n",
    "manifest_up.csv": "path,label\n../../../etc/hostname,a\nimages/a/0.png,b\n",
    "manifest_none.csv": "a,b\n1,2\n",
}


def write_all(root: Path) -> None:
    """Write every file."""
    for name, content in FILES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    asked = Question(id="1", question="Is it there?", answer_type="yes_no", gold=("yes",))
    empty = pa.nulls(9_000_000, pa.float64())
    pq.write_table(pa.table({"cat": empty}), root / "bomb.parquet")
    rows = Predictions(logits=LOGITS, labels=FIT["labels"], class_names=("cat", "dog"))
    save_predictions(rows, root / "rows_saved.safetensors")
    save_questions(root / "q_good.jsonl", QuestionSet(name="made", questions=(asked,)))
    for name in ("loop", "loop.csv", "loop.yaml", "loop.jsonl"):
        (root / name).symlink_to(name)
    (root / "away.json").symlink_to(root.parent / "theirs.json")
    (root / "link.png").symlink_to("/etc/hostname")
    (root / "folder.csv").mkdir()
    (root / "taken").mkdir()
    (root / "taken" / "thesis.tex").write_text("mine")
