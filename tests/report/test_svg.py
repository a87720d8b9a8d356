import re
import xml.etree.ElementTree as ET

import matplotlib as mpl
import numpy as np
import pytest

from vlmcal.errors import StoreError
from vlmcal.metrics import reliability_bins
from vlmcal.report.figures.histogram import confidence_histogram
from vlmcal.report.figures.reliability import reliability_diagram
from vlmcal.report.figures.svg import save_figure, to_svg
from vlmcal.report.theme import TONES

ALLOWED = {
    *("svg", "title", "desc", "defs", "clipPath", "rect", "path", "g", "use", "text", "tspan"),
    *("style", "pattern"),
}


@pytest.fixture
def diagram(make_confidences):
    def draw():
        rows = make_confidences()
        return reliability_diagram(reliability_bins(rows.confidence, rows.correct))

    return draw


@pytest.fixture
def histogram(make_confidences):
    rows = make_confidences()
    return confidence_histogram(rows.confidence, rows.correct)


def test_it_is_one_well_formed_element_of_known_kinds(diagram, histogram):
    for figure in (diagram(), histogram):
        root = ET.fromstring(to_svg(figure, title="t", desc="d"))
        assert root.tag == "svg"
        assert {element.tag for element in root.iter()} <= ALLOWED
        paths = [element for element in root.iter("path")]
        assert len(paths) > 20
        assert all(re.match(r"^M-?[\d.]+ ", path.get("d")) for path in paths)


def test_it_has_a_name_and_a_description(diagram):
    root = ET.fromstring(to_svg(diagram(), title="a < b & <script>", desc='say "no"', uid="f7"))
    assert root.get("role") == "img"
    assert root.get("aria-labelledby") == "f7-t f7-d"
    assert [child.text for child in root[:2]] == ["a < b & <script>", 'say "no"']
    assert [child.get("id") for child in root[:2]] == ["f7-t", "f7-d"]


def test_text_stays_text(diagram):
    root = ET.fromstring(to_svg(diagram(), title="t", desc="d"))
    words = ["".join(element.itertext()) for element in root.iter("text")]
    assert {"accuracy", "confidence", "0.2", "if calibrated (95 %)"} <= set(words)
    assert "font-family" not in to_svg(diagram(), title="t", desc="d")


def test_equal_input_gives_equal_bytes_and_no_date(diagram):
    first, second = (to_svg(diagram(), title="t", desc="d") for _ in range(2))
    assert first == second
    assert "metadata" not in first
    assert not re.search(r"20\d\d-\d\d-\d\d", first)


def test_ids_are_distinct_between_figures_and_all_references_resolve(diagram, histogram):
    both = to_svg(diagram(), title="a", desc="a") + to_svg(histogram, title="b", desc="b")
    ids = re.findall(r' id="([^"]+)"', both)
    assert len(ids) == len(set(ids))
    references = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', both)
    assert references
    assert {one or two for one, two in references} <= set(ids)
    classes = set(re.findall(r' class="([^"]+)"', both)) - {"vc-fig"}
    assert classes == set(re.findall(r"\.(f[\w-]+)\{", both))


def test_the_same_picture_twice_can_be_told_apart_by_uid(diagram):
    one, two = (to_svg(diagram(), title="t", desc="d", uid=uid) for uid in ("f1", "f2"))
    ids = re.findall(r' id="([^"]+)"', one + two)
    assert len(ids) == len(set(ids))


def test_every_palette_colour_follows_the_page(diagram, histogram):
    for figure in (diagram(), histogram):
        svg = to_svg(figure, title="t", desc="d")
        for tone in TONES:
            bare = re.sub(rf"var\({tone.variable},{tone.light}\)", "", svg)
            assert tone.light not in bare
        colours = re.findall(r"(?:fill|stroke):(#\w+)", svg)
        assert colours == []


def test_it_is_small(diagram, histogram):
    assert len(to_svg(diagram(), title="t", desc="d")) < 20_000
    assert len(to_svg(histogram, title="t", desc="d")) < 15_000


@pytest.mark.parametrize(
    ("suffix", "magic"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_files_are_written_whole_and_reproducibly(tmp_path, diagram, suffix, magic):
    first = save_figure(diagram(), tmp_path / "new" / f"a.{suffix}")
    second = save_figure(diagram(), tmp_path / "new" / f"b.{suffix}")
    assert first.read_bytes().startswith(magic)
    assert first.read_bytes() == second.read_bytes()
    assert sorted(p.name for p in first.parent.iterdir()) == [f"a.{suffix}", f"b.{suffix}"]


def test_an_unknown_ending_names_the_nearest(tmp_path, diagram):
    with pytest.raises(StoreError, match='as "pngg"; did you mean "png"'):
        save_figure(diagram(), tmp_path / "a.pngg")


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path, diagram):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="is a file, not a folder"):
        save_figure(diagram(), tmp_path / "file" / "a.png")


def test_the_users_own_settings_neither_matter_nor_change(diagram):
    plain = to_svg(diagram(), title="t", desc="d")
    with mpl.rc_context({"axes.grid": True, "font.size": 30, "lines.linewidth": 9}):
        before = dict(mpl.rcParams)
        assert to_svg(diagram(), title="t", desc="d") == plain
        assert dict(mpl.rcParams) == before


def test_drawing_needs_no_pyplot():
    import subprocess
    import sys

    code = (
        "import sys, vlmcal.report.pages.evaluation, vlmcal.report.pages.runs; "
        "print('matplotlib.pyplot' in sys.modules, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_colours_keep_their_contrast_on_both_surfaces():
    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(one: str, two: str) -> float:
        low, high = sorted((luminance(one), luminance(two)))
        return (high + 0.05) / (low + 0.05)

    tones = {tone.variable.removeprefix("--vc-"): tone for tone in TONES}
    for mode in ("light", "dark"):
        surface = getattr(tones["surface"], mode)
        for name, least in (("ink", 7), ("muted", 4.5), ("blue", 3), ("orange", 3), ("green", 3)):
            assert contrast(getattr(tones[name], mode), surface) >= least, (name, mode)
