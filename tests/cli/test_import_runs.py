"""Outputs of Dassl trainers, written here in their layout from tensors that were trained here."""

import collections
import itertools
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from vlmcal.api import fit
from vlmcal.backbones import load_backbone
from vlmcal.errors import DataError
from vlmcal.experiment.dassl.checkpoints import read_checkpoint, tensors_of
from vlmcal.experiment.dassl.logs import read_log
from vlmcal.experiment.saved import load_learner
from vlmcal.io.predictions import load_predictions

DATA = "shapes(n_classes=6, n_train=2, n_val=2, n_test=2)"
# Names in the published trainers -> names of our learners, as patterns of ours.
THEIRS = {
    "CoOp": {r"ctx": "ctx"},
    "KgCoOp": {r"ctx": "ctx"},
    "ProGrad": {r"ctx": "ctx"},
    "CoCoOp": {
        r"ctx": "ctx",
        r"meta_net\.0\.(.*)": r"meta_net.linear1.\1",
        r"meta_net\.2\.(.*)": r"meta_net.linear2.\1",
    },
    "MaPLe": {
        r"ctx": "prompt_learner.ctx",
        r"proj\.(.*)": r"prompt_learner.proj.\1",
        r"text_deep\.(\d)": r"prompt_learner.compound_prompts_text.\1",
        r"deep_proj\.(\d)\.(.*)": r"prompt_learner.compound_prompt_projections.\1.\2",
    },
    "PromptSRC": {
        r"ctx": "prompt_learner.ctx",
        r"text_deep\.0": "text_encoder.transformer.resblocks.1.VPT_shallow",
        r"image_prompts\.0": "image_encoder.VPT",
        r"image_prompts\.(\d)": r"image_encoder.transformer.resblocks.\1.VPT_shallow",
    },
    "VPT": {
        r"image_prompts\.0": "image_encoder.VPT",
        r"image_prompts\.(\d)": r"image_encoder.transformer.resblocks.\1.VPT_shallow",
    },
}
METHODS = {
    "CoOp": "coop(n_ctx=3, position=middle)",
    "KgCoOp": "kgcoop",
    "ProGrad": "prograd(n_ctx=5)",
    "CoCoOp": "cocoop",
    "MaPLe": "maple(depth=2)",
    "PromptSRC": "prompt_src(n_ctx=2, n_image=2, text_depth=2, image_depth=2)",
    "VPT": "vpt(n_tokens=2, depth=2)",
}
SECTIONS = {"KgCoOp": "COOP", "ProGrad": "COOP"}
LOG = """***************
** Arguments **
***************
seed: 2
************
** Config **
************
DATASET:
  NAME: somewhere
  NUM_SHOTS: 2
  SUBSAMPLE_CLASSES: base
MODEL:
  BACKBONE:
    NAME: ViT-B/16
  INIT_WEIGHTS: {empty}
SEED: 2
TRAINER:
  {section}:
    CLASS_TOKEN_POSITION: {position}
    CTX_INIT: a photo of a
    PREC: fp16
  NAME: {trainer}
Collecting env info ...
epoch [1/1] batch [5/16] loss 1.2 acc 85.0
Evaluate on the *test* set
=> result
* total: 1,012
* correct: 910
* accuracy: 89.9%
* macro_f1: 88.1%
=> per-class result
* class: 0 (plain red circle)\ttotal: 4\tcorrect: 3\tacc: 75.0%
ECE: 4.25%
"""


class Runs:
    """Code that a checkpoint would run if it were unpickled."""

    def __reduce__(self):
        return os.mkdir, ("executed",)


def trained(tmp_path, trainer, data=DATA):
    """A run trained here, its folder, and its learner."""
    method = METHODS[trainer]
    model = fit(
        data,
        method=method,
        shots=2,
        seed=2,
        protocol="base-to-new",
        store=tmp_path / "own",
        epochs=1,
    )
    return model.folder, load_learner(model.folder / "learner")


def write_output(folder, trainer, learner, *, half=False, turned=False):
    """What the trainer would have left of this learner."""
    layout = getattr(learner, "layout", None)
    found = collections.OrderedDict()
    own = {
        name: value
        for name, value in load_file(learner_file(learner)).items()
        if not name.startswith("average.")  # what its trainer keeps of past epochs
    }
    for name, value in own.items():
        for pattern, theirs in THEIRS[trainer].items():
            if match := re.fullmatch(pattern, name):
                key = match.expand(theirs)
                assert key not in found or not pattern.startswith("image"), key
                found.setdefault(key, value.half() if half else value)
                break
    assert len(found) == len(own)
    if layout is not None:
        encoder = learner.encoder
        rows = []
        for k, end in enumerate(layout.ends.tolist()):
            ids = layout.ids[k, : end + 1][layout.slots[k, : end + 1] < 0]
            rows.append(encoder.embed_tokens(ids[None])[0])
        width = max(len(row) for row in rows)
        padded = torch.stack(
            [torch.nn.functional.pad(row, (0, 0, 0, width - len(row))) for row in rows]
        )
        padded = padded.flip(0) if turned else padded
        start = "" if "ctx" in found else "prompt_learner."
        found[f"{start}token_prefix"], found[f"{start}token_suffix"] = padded[:, :1], padded[:, 1:]
    found["image_encoder.conv1.weight"] = torch.zeros(2)  # frozen towers are stored, too
    weight = torch.nn.Parameter(torch.zeros(1))
    optimiser = torch.optim.SGD([weight], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 3)
    content = {
        "state_dict": found,
        "epoch": 7,
        "scheduler": {"successor": schedule, "own": Runs()},
        "optimizer": optimiser.state_dict(),
    }
    place = folder / "train_base" / "shapes" / "shots_2" / trainer / "cfg" / "seed2"
    (place / "prompt_learner").mkdir(parents=True)
    torch.save(content, place / "prompt_learner" / "model.pth.tar-7")
    torch.save(
        {"state_dict": {"ctx": torch.zeros(1)}}, place / "prompt_learner" / "model.pth.tar-3"
    )
    position = getattr(learner.config, "position", "end")
    section = SECTIONS.get(trainer, trainer.upper())
    text = LOG.format(trainer=trainer, section=section, position=position, empty="")
    (place / "log.txt").write_text(text)
    return place


def learner_file(learner):
    return learner.source / "learner.safetensors"


@pytest.fixture
def output(tmp_path, monkeypatch):
    """Train here, and leave what the trainer would have left; returns the run's folder."""
    monkeypatch.chdir(tmp_path)

    def make(trainer, data=DATA, **options):
        folder, learner = trained(tmp_path, trainer, data)
        learner.source = folder / "learner"
        write_output(tmp_path / "output", trainer, learner, **options)
        return folder

    return make


IMPORT = ["import", "dassl", "output", "--backbone", "pocket", "--data"]


@pytest.mark.parametrize("trainer", sorted(METHODS))
def test_a_trained_prompt_predicts_as_where_it_was_trained(output, vlmcal, tmp_path, trainer):
    folder = output(trainer)
    done = vlmcal(*IMPORT, DATA)
    assert done.code == 0, done.err
    assert not (tmp_path / "executed").exists()
    (run,) = (tmp_path / "runs" / "runs").iterdir()
    assert run.name != folder.name
    for part in ("calibration", "test_base", "test_new"):
        ours = load_predictions(folder / "predictions" / f"{part}.safetensors")
        theirs = load_predictions(run / "predictions" / f"{part}.safetensors")
        assert theirs.logits == pytest.approx(ours.logits, abs=2e-4)
    assert "89.9 %" in done.out  # of the log, marked as such
    assert "From the trainers' logs" in done.out
    assert "in the store" in vlmcal(*IMPORT, DATA).err


def test_the_run_works_in_the_other_verbs(output, vlmcal, tmp_path):
    output("CoOp", half=True)
    done = vlmcal(*IMPORT, DATA, "-o", "report.html", "--csv", "table.csv")
    assert done.code == 0, done.err
    page = (tmp_path / "report.html").read_text()
    assert "Logs of the trainers" in page
    assert "imported=model.pth.tar-7" in page
    (run,) = (tmp_path / "runs" / "runs").iterdir()
    assert vlmcal("export", "predictions", run, "--set", "new", "-o", "rows.csv").code == 0
    assert vlmcal("evaluate", "rows.csv", "--logits").code == 0


def test_what_was_added_to_the_loss_is_said_by_who_trained(output, vlmcal, tmp_path, refused):
    from vlmcal.experiment.published.measured import results
    from vlmcal.experiment.store import Store

    output("KgCoOp")
    assert vlmcal(*IMPORT, DATA, "--objective", "tcpt").code == 0
    joined = {(r.learner, r.calibration) for r in results(Store(tmp_path / "runs"), [])}
    assert joined == {("kgcoop", "tcpt")}
    assert vlmcal(*IMPORT, DATA).code == 0  # another row: nothing was added
    joined = {(r.learner, r.calibration) for r in results(Store(tmp_path / "runs"), [])}
    assert joined == {("kgcoop", "tcpt"), ("kgcoop", "none")}
    refused(*IMPORT, DATA, "--objective", "tcp", words=['did you mean "tcpt"'])


def test_other_class_names_are_refused(output, refused):
    output("CoOp")
    words = ["trained on 3 classes", "--classes"]
    refused(*IMPORT, DATA.replace("n_classes=6", "n_classes=8"), words=words)


def test_another_order_of_the_class_names_is_refused(output, refused):
    output("KgCoOp", turned=True)
    refused(*IMPORT, DATA, words=["2 of 3 class names", "another order"])


def test_without_a_log_what_is_missing_is_asked_for(vlmcal, refused, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    context = torch.randn(4, load_backbone("pocket").text_width)
    torch.save(context.half(), "ctx_clip_shapes_s1.pt")
    first = ["import", "dassl", "ctx_clip_shapes_s1.pt", "--data", DATA]
    refused(*first, words=["--backbone clip-vit-b-16"])
    done = vlmcal(*first, "--backbone", "pocket")
    assert done.code == 0, done.err
    assert "seed 1 (file name)" in done.err


def test_the_commands_of_the_guide(output, vlmcal, tmp_path):
    draw = np.random.default_rng(0)
    for part, name in itertools.product(("train", "val", "test"), ("cat", "dog", "owl", "bee")):
        place = tmp_path / "my_images" / part / name
        place.mkdir(parents=True)
        for i in range(2):
            Image.fromarray(draw.integers(0, 256, (32, 32, 3), np.uint8)).save(place / f"{i}.png")
    output("KgCoOp", data="my_images")
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "import-runs.md").read_text()
    commands = re.findall(r"^vlmcal (.*)$", guide, re.M)
    assert len(commands) == 2
    for command in commands:
        done = vlmcal(*shlex.split(command.replace("clip-vit-b-16", "pocket")))
        assert done.code == 0, done.err


def test_logs_alone_need_no_data(vlmcal, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    text = LOG.format(trainer="CoOp", section="COOP", position="end", empty="")
    (tmp_path / "out" / "log.txt").write_text(text)
    done = vlmcal("import", "dassl", "out", "--logs-only", "--csv", "logs.csv")
    assert done.code == 0, done.err
    assert "89.9 %" in (tmp_path / "logs.csv").read_text()
    log = read_log(tmp_path / "out" / "log.txt")
    assert log.settings["TRAINER.COOP.CTX_INIT"] == "a photo of a"
    assert log.settings["MODEL.INIT_WEIGHTS"] == ""
    assert log.tests[0].classes == {"plain red circle": 75.0}


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoints_run_nothing(tmp_path, monkeypatch, zipped):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth.tar-1"
    content = {
        "state_dict": {"module.ctx": torch.ones(2, 3)},
        "x": Runs(),
        "optim": torch.optim.SGD,
    }
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert tensors_of(read_checkpoint(path), path)["ctx"].tolist() == [[1.0] * 3] * 2
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("damage", [b"", b"garbage", b"PK\x03\x04broken"])
def test_damaged_checkpoints_are_named(tmp_path, damage):
    path = tmp_path / "model.pth.tar-1"
    path.write_bytes(damage)
    with pytest.raises(DataError, match="copy the file again"):
        tensors_of(read_checkpoint(path), path)
