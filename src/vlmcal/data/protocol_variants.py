"""Further protocols: nested draws, splits by group, other data sets to test on, and what not to do."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, Unpack

import numpy as np

from vlmcal.data.protocols import Drawing, GroupDrawing, Protocol, all_class, cross_dataset
from vlmcal.data.splits import stratified_split
from vlmcal.errors import SplitError
from vlmcal.types.dataset import Dataset

# Cards of the data sets that ImageNet models are tested on for natural distribution shifts.
SHIFTED_IMAGENETS: Final = ("imagenet_v2", "imagenet_sketch", "imagenet_a", "imagenet_r")
GRAVE: Final = "Not to be quoted: "


def nested(dataset: Dataset, shots: int, seed: int, **how: Unpack[GroupDrawing]) -> Protocol:
    """All classes, with draws that contain each other: the images of k shots are among those of any more.

    Each class is shuffled by the generator of the seed, and k shots are the first k; so curves over shots
    differ by the added images only. The published rule (:func:`vlmcal.data.protocols.all_class`) draws anew
    for each number of shots.

    Args:
        dataset: See :func:`vlmcal.data.protocols.base_to_new`, as for the other arguments.
        shots: k, training images per class.
        seed: Seed of the shuffles.
        how: See :class:`vlmcal.data.protocols.Drawing`.

    Raises:
        SplitError: No test images, or a group on two sides.
        DataError: No training images, or a class is too small.

    Example:
        >>> from vlmcal.data.shapes import shapes
        >>> data = shapes(n_classes=5, n_train=8, n_val=4, n_test=2)
        >>> few, more = (set(nested(data, k, 1).train.ids.tolist()) for k in (2, 4))
        >>> len(few), len(more), few < more
        (10, 20, True)
    """
    return _named(all_class(dataset, shots, seed, **how, nested=True), "nested")


def by_group(dataset: Dataset, shots: int, seed: int, **how: Unpack[Drawing]) -> Protocol:
    """All classes, with the split drawn anew so that no patient or slide lies on two sides.

    Whatever split the data came with is set aside: train, val and test are 50/20/30 % of the images as nearly
    as whole groups allow, by class (:func:`vlmcal.data.splits.stratified_split` with seed 0, so that seeds of
    the draw share one test set).

    Args:
        dataset: With groups.
        shots: k, training images per class.
        seed: Seed of the draw.
        how: See :class:`vlmcal.data.protocols.Drawing`.

    Raises:
        SplitError: The data set names no groups, or too few.
        DataError: A class is too small.

    Example:
        >>> data = Dataset(name="d", images=np.zeros((24, 2, 2), np.uint8), labels=[0, 1] * 12,
        ...                splits=["train"] * 20 + ["test"] * 4, class_names=("a", "b"),
        ...                groups=[f"patient {n // 2}" for n in range(24)])
        >>> parts = by_group(data, 2, 1)
        >>> sorted(set(parts.test("all").groups) & set(parts.train.groups))
        []
    """
    if dataset.groups is None:
        raise SplitError(
            f'data set "{dataset.name}" names no groups; protocol by-group needs the patient or slide of '
            "each image (of a table: pass group=COLUMN), else use all-class"
        )
    splits = stratified_split(dataset.labels, groups=dataset.groups, seed=0)
    parts = all_class(replace(dataset, splits=splits), shots, seed, **how)
    return _named(parts, "by-group", split="by group, 50/20/30, seed 0")


def domain_generalisation(
    source: Dataset, targets: Sequence[Dataset], shots: int, seed: int, **how: Unpack[Drawing]
) -> Protocol:
    """Train on one data set, test on others that show the same classes otherwise, or some of them.

    As :func:`vlmcal.data.protocols.cross_dataset`; each target is tested with the names of its own classes
    only (ImageNet-A and -R have 200 of the 1000).

    Source: Zhou et al., Learning to prompt for vision-language models, IJCV 2022, arXiv 2109.01134.

    Args:
        source: Trained on; see :func:`vlmcal.data.protocols.base_to_new`.
        targets: Tested on.
        shots: k, training images per class.
        seed: Seed of the draw.
        how: See :class:`vlmcal.data.protocols.Drawing`.

    Raises:
        SplitError: A target has classes that the source has not, or no test images.
        DataError: No training images, or a class is too small.

    Example:
        >>> from vlmcal.data.shapes import shapes
        >>> source, other = (shapes(n_classes=5, n_test=1, seed=s) for s in (0, 1))
        >>> parts = domain_generalisation(source, [replace(other, name="other")], 1, 1)
        >>> list(parts.tests)
        ['other']
    """
    known = {_plain(name) for name in source.class_names}
    for target in targets:
        foreign = [name for name in target.class_names if _plain(name) not in known]
        if foreign:
            raise SplitError(
                f'"{target.name}" has {len(foreign)} classes that "{source.name}" has not (first: '
                f'"{foreign[0]}"); domain-generalisation is about the same classes. Use cross-dataset'
            )
    parts = cross_dataset(source, targets, shots, seed, **how)
    return _named(parts, "domain-generalisation")


def calibrated_on_test(
    dataset: Dataset, shots: int, seed: int, **how: Unpack[GroupDrawing]
) -> Protocol:
    """All classes, calibrated on the test images, as some published medical code does; only to reproduce it.

    Whatever is fitted there has seen what it is measured on. Every report of such a run says so first.

    Args:
        dataset: See :func:`vlmcal.data.protocols.base_to_new`, as for the other arguments.
        shots: k, training images per class.
        seed: Seed of the draw.
        how: See :class:`vlmcal.data.protocols.Drawing`.

    Raises:
        SplitError: No test images, another ``calibration``, or a group on two sides.
        DataError: No training images, or a class is too small.

    Example:
        >>> from vlmcal.data.shapes import shapes
        >>> parts = calibrated_on_test(shapes(n_classes=5, n_train=8, n_test=2), 2, 1)
        >>> str(parts.test("all").ids[0]), str(parts.calibration.ids[0])
        ('test/0/0', 'test/0/0 as val')
    """
    calibration = how.get("calibration", "all")
    if calibration not in ("all", "none"):
        raise SplitError(f'test-as-val: expected calibration "all" or "none", got "{calibration}"')
    kept: GroupDrawing = {**how, "calibration": "none"}
    parts = all_class(dataset, shots, seed, **kept)
    test = parts.test("all")
    if calibration == "all":
        # Other ids, since what is fitted on rows refuses the very same rows: here that is the purpose.
        ids = np.char.add(test.ids, " as val")
        held = replace(test, splits=np.full(len(test), "calibration"), ids=ids)
        parts = replace(parts, calibration=held)
    return _named(parts, "test-as-val", calibration="all of the test images, which it is tested on")


def remark_of(name: str) -> str:
    """What every report of a protocol has to say first; "" for those that need no word.

    Example:
        >>> remark_of("all-class"), remark_of("test-as-val")[:18]
        ('', 'Not to be quoted: ')
    """
    if name != "test-as-val":
        return ""
    return (
        f"{GRAVE}the protocol test-as-val fits calibrators, and chooses, on the very test images that it "
        "measures. Calibrated rows look better than they are; this only reproduces published code."
    )


def _plain(name: str) -> str:
    return name.replace("_", " ").strip().lower()


def _named(parts: Protocol, name: str, **more: Any) -> Protocol:
    return replace(parts, name=name, provenance={**parts.provenance, "protocol": name, **more})
