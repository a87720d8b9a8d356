"""TSV files of VLMEvalKit: options in columns, images in base64 or by the index of another row."""

import base64
import io

import pytest
from PIL import Image

from vlmcal.data.vqa.base import load_questions
from vlmcal.errors import DataError


def picture(size):
    buffer = io.BytesIO()
    Image.effect_noise((size, size), 90).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def table(tmp_path, *rows):
    head = ("index", "question", "hint", "A", "B", "C", "answer", "category", "image")
    path = tmp_path / "MMBench_DEV_EN.tsv"
    path.write_text("\n".join("\t".join(map(str, row)) for row in (head, *rows)) + "\n")
    return path


def test_options_images_and_shifted_copies(tmp_path):
    large = picture(400)
    assert len(large) > 131_072  # more than Python's csv takes by itself
    path = table(
        tmp_path,
        (7, "Which?", "Look well.", "cat", "dog", "owl", "B", "animals", large),
        (1000007, "Which?", "", "dog", "owl", "", "A", "animals", 7),
    )
    first, second = load_questions(path, images=tmp_path / "images")
    assert (first.options, first.gold, first.kind) == (("cat", "dog", "owl"), ("dog",), "animals")
    assert first.question == "Look well.\nWhich?"
    assert (second.options, second.gold) == (("dog", "owl"), ("dog",))
    assert first.images == second.images
    assert first.group == second.group
    assert len(list((tmp_path / "images").iterdir())) == 1


@pytest.mark.parametrize("cell", ["8", "x" * 70])
def test_images_that_are_none_are_defects(tmp_path, cell):
    path = table(tmp_path, (7, "Which?", "", "cat", "dog", "", "B", "", cell))
    with pytest.raises(DataError, match="base64"):
        load_questions(path, images=tmp_path / "images")


def test_a_folder_for_the_images_is_needed(tmp_path):
    path = table(tmp_path, (7, "Which?", "", "cat", "dog", "", "B", "", picture(8)))
    with pytest.raises(DataError, match="--images"):
        load_questions(path)
