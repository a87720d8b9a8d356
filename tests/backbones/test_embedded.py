"""The embedded model runs on modules of its own, with the numbers and tokens of the library."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import CLIPModel, CLIPTokenizer

from vlmcal.backbones import load_backbone
from vlmcal.backbones.hf_clip import HFClip
from vlmcal.backbones.loading import EMBEDDED

# Written into every store and cache so far.
FINGERPRINT = "97cd690244d6319612dbe5742e4a46257078971e6cc1b10717873fd1a9641279"
TEXTS = [
    "a photo of the number three.",
    "A  Photo\tof\n DIGIT 42, it's 3/4!",
    "naïve café - 犬 Ωμέγα 🙂",
    "the <|endoftext|> inside",
    "",
]


@pytest.fixture(scope="module")
def encoder():
    return load_backbone("pocket")


@pytest.fixture(scope="module")
def library():
    return HFClip.load(EMBEDDED["pocket"], "pocket", device="cpu", dtype=torch.float32)


def test_it_is_the_same_encoder(encoder, library):
    assert isinstance(library.model, CLIPModel)
    assert encoder.fingerprint == library.fingerprint == FINGERPRINT
    assert encoder.model.state_dict().keys() == library.model.state_dict().keys()
    assert (encoder.sos_id, encoder.eos_id, encoder.pad_id) == (
        library.sos_id,
        library.eos_id,
        library.pad_id,
    )
    assert float(encoder.logit_scale) == float(library.logit_scale)


def test_features_are_the_librarys(encoder, library):
    ids = encoder.tokenize(TEXTS)
    assert torch.allclose(encoder.encode_text_ids(ids), library.encode_text_ids(ids), atol=1e-5)
    pixels = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 3, 32, 32))).float()
    assert torch.allclose(encoder.encode_pixels(pixels), library.encode_pixels(pixels), atol=1e-5)


def test_tokens_are_the_librarys(encoder):
    tokenizer = CLIPTokenizer.from_pretrained(EMBEDDED["pocket"], local_files_only=True)
    expected = tokenizer(TEXTS, add_special_tokens=False)["input_ids"]
    assert encoder.token_ids(TEXTS) == expected
    assert encoder.tokenizer.get_vocab() == tokenizer.get_vocab()
    assert len(encoder.tokenizer) == len(tokenizer)


def test_it_does_not_import_the_library():
    code = (
        "import sys; from vlmcal.backbones import load_backbone; from vlmcal.learners.base import LEARNERS\n"
        "load_backbone('pocket').encode_texts(['a']); import vlmcal.experiment.run, vlmcal.api\n"
        "LEARNERS.get('vpt')\n"
        "print([m for m in sys.modules if m.split('.')[0] == 'transformers'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
