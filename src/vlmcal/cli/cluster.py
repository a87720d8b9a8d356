"""``vlmcal cluster``: groups of unlabelled images with calibrated confidences."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

from vlmcal.cli import arguments
from vlmcal.cli.option_groups import arg, opt, written
from vlmcal.errors import DataError, SpecError
from vlmcal.extras import naming_extras

if TYPE_CHECKING:
    from vlmcal.backbones.base import DualEncoder
    from vlmcal.types.arrays import FloatArray, IntArray


def cluster(
    images: Annotated[
        list[Path], arg("Image files, or folders of images at any depth; or one file of features.")
    ],
    k: Annotated[int, opt("Number of clusters.", min=2)],
    output: Annotated[
        Path,
        written("Cluster and confidence of each image: .csv, .jsonl, ...; - is standard output."),
    ],
    words: Annotated[
        list[str] | None, arguments.several("Names that clusters may be called by.")
    ] = None,
    labels: Annotated[
        str | None,
        opt(
            "Classes to score against, never trained on: class folders or a table; of features a column."
        ),
    ] = None,
    backbone: Annotated[str, opt("As in vlmcal train.")] = "pocket",
    epochs: Annotated[int, opt("Passes over the images.", min=0)] = 100,
    seed: arguments.Seed = 0,
    device: arguments.Device = "cpu",
) -> None:
    """Group images without labels (CDC on frozen features); names are suggestions of the text tower.

    Features of another model: an NPZ file with image_features, or a table with columns f0, f1, ...
    """
    from vlmcal.io.table_output import write_table

    arguments.require_output(output, arguments.TABLES)
    with naming_extras(), arguments.notes():
        given = _given(images, labels, words, k, (backbone, device, seed))
        from vlmcal.clustering import cdc

        views, settings = {"weak": given.crops, "strong": given.crops}, cdc.Settings(epochs=epochs)
        made = cdc.cluster(given.plain, k, **views, settings=settings, seed=seed)
    names = _names(given, made.labels, k, words)
    best = made.probabilities.max(axis=1)
    columns = {"image": given.ids, "cluster": made.labels, "name": [names[n] for n in made.labels]}
    write_table({**columns, "confidence": best.round(6)}, output)
    show = arguments.telling_beside(output)
    for line in _sizes(made.labels, best, names):
        show(line)
    if given.truth is not None:
        show(_score(made.labels, best, given.truth))
    show(f"saved: {output}")


class _Given(NamedTuple):
    """Rows to cluster: features of the images and of their crops, classes to score against, the encoder."""

    ids: list[str]
    plain: "FloatArray"
    crops: "FloatArray"
    truth: "IntArray | None"
    encoder: "DualEncoder | None"


def _given(
    images: list[Path],
    labels: str | None,
    words: list[str] | None,
    k: int,
    encoding: tuple[str, str, int],
) -> _Given:
    from vlmcal.clustering.feature_rows import holds_rows, read_rows
    from vlmcal.io.image_files import find_images

    if holds_rows(images):
        if words:
            raise SpecError(
                "--words are matched by the text tower that belongs to the image features; give images, or "
                "leave it out"
            )
        rows = read_rows(images[0], labels)
        return _Given(rows.ids, rows.features, rows.features, rows.labels, None)
    paths = list(dict.fromkeys(find_images(images)))
    truth = None if labels is None else _truth(paths, labels)
    encoder, plain, crops = _features(paths, k, *encoding)
    return _Given([str(path) for path in paths], plain, crops, truth, encoder)


def _sizes(clusters: "IntArray", confidence: "FloatArray", names: list[str]) -> list[str]:
    """Size and mean confidence of each cluster, a line each."""
    lines = []
    for number, name in enumerate(names):
        inside = clusters == number
        mean = 100 * float(confidence[inside].mean()) if inside.any() else 0.0
        lines.append(f"{number:4} {name:24} {int(inside.sum()):6} images, {mean:5.1f} % sure")
    if empty := sum(not (clusters == number).any() for number in range(len(names))):
        lines.append(
            f"note: {empty} of {len(names)} clusters are empty: fewer groups are told apart; ask for fewer"
        )
    return lines


def _truth(paths: list[Path], labels: str) -> "IntArray":
    """Class of each image, -1 where the labels do not have it."""
    import numpy as np

    from vlmcal.data.base import as_spec, load_dataset

    data = load_dataset(as_spec(labels))
    known = {
        Path(str(image)).resolve(): label
        for image, label in zip(data.images, data.labels.tolist(), strict=True)
    }
    found = np.array([known.get(path.resolve(), -1) for path in paths], dtype=np.int64)
    if (found < 0).all():
        raise DataError(
            f"--labels {labels}: none of its {len(known)} images is among the {len(paths)} that are "
            "clustered; give the same folder, or a table whose paths lead to these files"
        )
    return found


def _score(clusters: "IntArray", confidence: "FloatArray", truth: "IntArray") -> str:
    """How the clusters and their confidences stand against the classes, in a line."""
    from vlmcal.clustering.scores import scored

    rows = truth >= 0
    found = scored(clusters[rows], confidence[rows], truth[rows])
    return (
        f"against the classes of {int(rows.sum())} images: accuracy {found.accuracy:.1%} (clusters matched "
        f"one to one), ARI {found.ari:.3f}, NMI {found.nmi:.3f}, ECE {found.ece:.1%}"
    )


def _features(
    paths: list[Path], k: int, backbone: str, device: str, seed: int
) -> "tuple[DualEncoder, FloatArray, FloatArray]":
    import numpy as np

    from vlmcal.backbones import load_backbone
    from vlmcal.backbones.cache import image_features
    from vlmcal.clustering.cdc import require_enough
    from vlmcal.types.dataset import Dataset

    require_enough(len(paths), k)  # before they are encoded
    encoder = load_backbone(backbone, device=device)
    unlabelled = Dataset(
        name="images",
        images=paths,
        labels=np.zeros(len(paths), dtype=np.int64),
        splits=np.full(len(paths), "unknown"),
        class_names=("image",),
    )
    plain = image_features(encoder, unlabelled).image_features[:, 0]
    crops = image_features(encoder, unlabelled, views=2, seed=seed).image_features[:, 0]
    return encoder, np.asarray(plain, dtype=np.float64), np.asarray(crops, dtype=np.float64)


def _names(given: _Given, labels: "IntArray", k: int, words: list[str] | None) -> list[str]:
    """The word nearest to the mean image of each cluster, or "" where none are given."""
    import numpy as np

    if not words or given.encoder is None:
        return [""] * k
    features = given.plain
    encoded = given.encoder.encode_texts([f"a photo of a {word}." for word in words])
    text = encoded.double().cpu().numpy()
    text /= np.linalg.norm(text, axis=1, keepdims=True)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    found = []
    for number in range(k):
        inside = unit[labels == number]
        found.append(words[int((text @ inside.mean(axis=0)).argmax())] if len(inside) else "")
    return found
