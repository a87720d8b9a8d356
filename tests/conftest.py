"""Fixtures for the whole suite: a tiny encoder, a small data set, no shared cache, no network."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest
from hypothesis import settings

# How long an example takes is the machine's affair: a busy one fails no test.
settings.register_profile("vlmcal", deadline=None)
settings.load_profile("vlmcal")


@pytest.fixture(scope="session", autouse=True)
def private_cache(tmp_path_factory):
    """Feature caches of the tests never touch the user's own."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("VLMCAL_CACHE")
    os.environ["VLMCAL_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["VLMCAL_CACHE"]
    else:
        os.environ["VLMCAL_CACHE"] = before


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory):
    from tiny_clip import make_tiny_clip

    return make_tiny_clip(tmp_path_factory.mktemp("tiny"), text_layers=10, image_layers=10)


@pytest.fixture(scope="session")
def tiny_encoder(tiny_folder):
    from vlmcal.backbones import load_backbone

    return load_backbone(str(tiny_folder))


@pytest.fixture(scope="session")
def small_images(tmp_path_factory):
    """A folder of class folders: 4 classes, 12 tiny colourful images each, separable."""
    from PIL import Image

    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    names = ("red cat", "green dog", "blue bird", "grey fish")
    colours = [(200, 30, 30), (30, 200, 30), (30, 30, 200), (120, 120, 120)]
    for name, colour in zip(names, colours, strict=True):
        (root / name).mkdir()
        for i in range(12):
            noise = rng.integers(-25, 25, (20, 20, 3))
            pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i:02d}.png")
    return root


# Counts of the golden tests travel from the workers to the main process, which prints them. The hooks
# live here because the main process of a parallel run reads no conftest of a sub-folder.


def pytest_sessionfinish(session):
    from golden_counts import COUNTS

    output = getattr(session.config, "workeroutput", None)
    if output is not None:
        output["golden"] = {kind: dict(names) for kind, names in COUNTS.items()}


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    from golden_counts import COUNTS

    for kind, names in getattr(node, "workeroutput", {}).get("golden", {}).items():
        COUNTS[kind].update(names)


def pytest_terminal_summary(terminalreporter):
    from golden_counts import COUNTS

    if not COUNTS:
        return
    terminalreporter.section("golden numbers")
    for kind, names in sorted(COUNTS.items()):
        terminalreporter.line(f"{kind}: {sum(names.values())} cases of {len(names)} names")
        if kind == "not implemented":
            terminalreporter.line("  " + ", ".join(f"{n} ({c})" for n, c in sorted(names.items())))
