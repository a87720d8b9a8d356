"""Generated scenes, their captions and the tokenizer from which ``train_pocket.py`` learns."""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pocket_glyphs import DIGIT_WORDS, DIGITS, LETTERS, render_glyph
from pocket_strokes import render_handwritten
from vlmcal.data.render import BACKGROUNDS, COLOURS, SHAPES, TEXTURES, render_shape

DIGIT, LETTER, SHAPE = 0, 1, 2
PRINTED, HANDWRITTEN = 0, 1
ANY = -1
SOS, EOS = "<|startoftext|>", "<|endoftext|>"
# These look like digits or like one another once the case is lost at 32 pixels.
USED_LETTERS = tuple(letter for letter in LETTERS if letter not in "OolIi")
WORDS = tuple(Path(__file__).with_name("pocket_words.txt").read_text(encoding="utf-8").split())

DIGIT_TEMPLATES = (
    "a photo of the number {}.", "a photo of the digit {}.", "a photo of a {}.", "the number {}.",
    "the digit {}.", "number {}", "{}", "{}.", "a picture of the number {}.", "this is a {}.",
    "an image of the number {}.", "the numeral {}.", "a scan of the digit {}.", "it is {}.",
    "a blurry photo of the number {}.", "a low resolution photo of the digit {}.",
    "a centered satellite photo of {}.", "a photo of {}, a type of number.", "an example of a {}.",
    "the figure {}", "a photo of the number: \"{}\".", "a black and white photo of the number {}.",
)  # fmt: skip
HAND_TEMPLATES = (
    "a handwritten {}.", "a handwritten digit {}.", "the number {} written by hand.",
    "a photo of the handwritten number {}.", "handwriting of a {}.", "a {} drawn with a pen.",
)  # fmt: skip
PRINT_TEMPLATES = (
    "a printed {}.", "a printed digit {}.", "the number {} in print.", "a typed {}.",
    "a photo of the printed number {}.", "the digit {} in a book.",
)  # fmt: skip
LETTER_TEMPLATES = (
    "the letter {}.", "a photo of the letter {}.", "letter {}", "a printed letter {}.",
    "the character {}.", "an image of the letter {}.", "a typed {} character.",
)  # fmt: skip
SHAPE_TEMPLATES = (
    "a photo of a {}.", "a {}.", "{}", "{}.", "a picture of a {}.", "an image of a {}.",
    "a drawing of a {}.", "this is a {}.", "a photo of the {}.", "a blurry photo of a {}.",
    "a low resolution photo of a {}.", "an example of a {}.", "a painting of the {}.",
    "a photo of a small {}.", "there is a {} in the scene.", "a photo of one {}.", "it is a {}.",
)  # fmt: skip

Attributes = npt.NDArray[np.int64]
Images = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scenes:
    """Images ``(N, 32, 32, 3)`` and attributes ``(N, 5)``: kind, identity, style, texture, ground.

    ``style`` is the writing style of a digit and the colour of a shape.
    """

    images: Images
    attributes: Attributes


@dataclass(frozen=True)
class Caption:
    """A sentence and the attributes an image must have for it to be true (``ANY`` is free)."""

    text: str
    needs: tuple[int, int, int, int, int]


def _draw(rng: np.random.Generator, kind: str) -> tuple[Images, list[int]]:
    shift = float(rng.beta(1.0, 6.0)) if rng.random() < 0.5 else 0.0
    if kind == "handwritten":
        digit = int(rng.integers(10))
        image = render_handwritten(rng, DIGITS[digit], shift=shift * 0.4)
        return image, [DIGIT, digit, HANDWRITTEN, ANY, ANY]
    if kind == "printed":
        digit = int(rng.integers(10))
        image = render_glyph(rng, DIGITS[digit], coarse=rng.random() < 0.6, shift=shift * 0.5)
        return image, [DIGIT, digit, PRINTED, ANY, ANY]
    if kind == "letter":
        letter = USED_LETTERS[int(rng.integers(len(USED_LETTERS)))]
        image = render_glyph(rng, letter, coarse=rng.random() < 0.25, shift=shift * 0.5)
        return image, [LETTER, ord(letter.lower()) - ord("a"), PRINTED, ANY, ANY]
    shape, colour, texture = (int(rng.integers(n)) for n in (len(SHAPES), len(COLOURS), 4))
    ground = int(rng.integers(len(BACKGROUNDS)))
    image = render_shape(
        rng, shape=SHAPES[shape], colour=COLOURS[colour], texture=TEXTURES[texture],
        size=float(rng.uniform(0.55, 0.98)), shift=shift, background=BACKGROUNDS[ground],
    )  # fmt: skip
    return image, [SHAPE, shape, colour, texture, ground if shift < 0.3 else ANY - 1]


def _draw_chunk(task: tuple[int, int, str, int]) -> Scenes:
    seed, chunk, kind, count = task
    rng = np.random.default_rng([seed, chunk])
    drawn = [_draw(rng, kind) for _ in range(count)]
    return Scenes(np.stack([image for image, _ in drawn]), np.array([row for _, row in drawn]))


def draw_scenes(counts: dict[str, int], *, seed: int, processes: int = 1) -> Scenes:
    """Draw ``counts[kind]`` scenes of each kind; the result depends on the seed only."""
    tasks = [
        (seed, 1000 * index + chunk, kind, min(1000, count - 1000 * chunk))
        for index, (kind, count) in enumerate(counts.items())
        for chunk in range(-(-count // 1000))
    ]
    with ProcessPoolExecutor(processes) as pool:
        parts = list(pool.map(_draw_chunk, tasks))
    return Scenes(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.attributes for part in parts]),
    )


def shape_name(shape: int, colour: int, texture: int) -> str:
    """Class name of a scene, such as ``striped red circle``."""
    return f"{TEXTURES[texture]} {COLOURS[colour]} {SHAPES[shape]}"


def _pick(rng: np.random.Generator, options: tuple[str, ...]) -> str:
    return options[int(rng.integers(len(options)))]


def _in_context(
    rng: np.random.Generator, templates: tuple[str, ...], name: str, longest: int
) -> str:
    """Put a name into a template or, one time in four, behind unrelated words.

    Unrelated words keep odd prompts, such as learned context, close to what was trained on.
    """
    if rng.random() < 0.75:
        return _pick(rng, templates).format(name)
    words = [_pick(rng, WORDS) for _ in range(int(rng.integers(0, longest + 1)))]
    return " ".join([*words, name]) + ("." if rng.random() < 0.5 else "")


def caption_for(rng: np.random.Generator, row: Attributes, *, longest: int = 5) -> Caption:
    """A random true caption of a scene with attributes ``row`` ``(5,)``.

    ``longest`` bounds the number of unrelated words in front of a name.
    """
    kind, identity, style, texture, ground = (int(value) for value in row)
    if kind == DIGIT:
        name = DIGIT_WORDS[identity] if rng.random() < 0.75 else DIGITS[identity]
        if rng.random() < 0.8:
            text = _in_context(rng, DIGIT_TEMPLATES, name, longest)
            return Caption(text, (DIGIT, identity, ANY, ANY, ANY))
        styled = HAND_TEMPLATES if style == HANDWRITTEN else PRINT_TEMPLATES
        return Caption(_pick(rng, styled).format(name), (DIGIT, identity, style, ANY, ANY))
    if kind == LETTER:
        text = _in_context(rng, LETTER_TEMPLATES, chr(ord("a") + identity), longest)
        return Caption(text, (LETTER, identity, ANY, ANY, ANY))
    return _shape_caption(rng, identity, style, texture, ground, longest)


def _shape_caption(
    rng: np.random.Generator, shape: int, colour: int, texture: int, ground: int, longest: int
) -> Caption:
    said_texture, said_colour = rng.random() < 0.75, rng.random() < 0.9
    words = [TEXTURES[texture]] if said_texture else []
    words += [COLOURS[colour]] if said_colour else []
    name = " ".join([*words, SHAPES[shape]])
    said_ground = ground >= 0 and rng.random() < 0.15
    if said_ground:
        name += f" on a {BACKGROUNDS[ground]} background"
    needs = (
        SHAPE,
        shape,
        colour if said_colour else ANY,
        texture if said_texture else ANY,
        ground if said_ground else ANY,
    )
    return Caption(_in_context(rng, SHAPE_TEMPLATES, name, longest), needs)


def matches(attributes: Attributes, captions: list[Caption]) -> npt.NDArray[np.bool_]:
    """Truth ``(N, C)`` of every caption about every image."""
    needs = np.array([caption.needs for caption in captions])
    agree = (needs[None] == ANY) | (needs[None] == attributes[:, None])
    return np.asarray(agree.all(axis=2))


def _byte_symbols() -> list[str]:
    """The 256 printable stand-ins of bytes, in the order of byte-level BPE vocabularies."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(rest))]


def _join(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    joined: list[str] = []
    for symbol in word:
        # A symbol just made by this merge is longer than the first half and cannot match again.
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return tuple(joined)


def learn_merges(texts: Iterable[str], count: int) -> list[tuple[str, str]]:
    """The ``count`` most frequent byte pairs, one after the other; ties go to the first by name.

    Written out here because the trainer of the tokenizers library breaks ties differently in
    every process, which would give every run another vocabulary.
    """
    pieces = (piece for text in texts for piece in re.findall(r"[a-z]+|[0-9]|[^a-z0-9\s]+", text))
    words = {(*piece[:-1], piece[-1] + "</w>"): n for piece, n in Counter(pieces).items()}
    merges: list[tuple[str, str]] = []
    while len(merges) < count:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, n in words.items():
            for pair in itertools.pairwise(word):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        words = {_join(word, best): n for word, n in words.items()}
    return merges


def write_tokenizer(folder: Path, texts: Iterable[str], *, merges: int = 1800) -> None:
    """Learn byte-level BPE with word ends and write ``vocab.json``, ``merges.txt`` and settings.

    The vocabulary holds 256 bytes, 256 bytes at a word's end, the merges, and last the two
    markers, so that any Unicode text can be written and the end marker has the largest number.
    """
    pairs = learn_merges(texts, merges)
    symbols = _byte_symbols()
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols)]
    tokens += dict.fromkeys(a + b for a, b in pairs)
    tokens += [SOS, EOS]
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {token: index for index, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in pairs)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    settings = {
        "tokenizer_class": "CLIPTokenizer", "bos_token": SOS, "eos_token": EOS, "unk_token": EOS,
        "pad_token": EOS, "model_max_length": 77, "do_lower_case": True,
    }  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2), encoding="utf-8")
