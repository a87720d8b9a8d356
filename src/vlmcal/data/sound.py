"""What no run may train on: data in which ``vlmcal data check`` finds an error."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from vlmcal.data.audit import audit
from vlmcal.data.problems import Report
from vlmcal.errors import DataError
from vlmcal.hashing import digest, digest_array
from vlmcal.io.cache_dir import default_cache_dir
from vlmcal.types.dataset import Dataset

_VERSION = 1  # raise it when the audit finds more


def require_sound(
    dataset: Dataset,
    content: str,
    *,
    shared_groups: bool = False,
    cache_dir: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Refuse a data set in which the audit finds an error; one that was found sound is not read again.

    Args:
        dataset: Any data set.
        content: Its fingerprint, :func:`vlmcal.io.fingerprint.dataset_fingerprint`.
        shared_groups: Whether a patient or slide may lie on two sides.
        cache_dir: Folder that remembers what was found sound; None for the default one.
        progress: Called with (images read, N).

    Raises:
        DataError: Lists every error, and how to go on all the same.

    Example:
        >>> import numpy as np
        >>> picture = np.zeros((2, 4, 4), np.uint8)
        >>> data = Dataset(name="toy", images=picture, labels=[0, 1], splits=["train", "train"],
        ...                class_names=("cat", "dog"))
        >>> require_sound(data, "0" * 64)
        Traceback (most recent call last):
        vlmcal.errors.DataError: toy: 2 images, 2 errors, 1 warning ...
    """
    groups = None if dataset.groups is None else digest_array(dataset.groups)
    key = digest([_VERSION, content, digest_array(dataset.splits), groups, shared_groups])
    known = (cache_dir or default_cache_dir()) / "sound" / key
    if known.exists():
        return
    report = audit(dataset, progress=progress)
    kept = [
        problem
        for problem in report.problems
        if not (shared_groups and problem.kind == "group-leak")
    ]
    refuse_errors(Report(name=report.name, n_images=report.n_images, problems=tuple(kept)))
    with suppress(
        OSError
    ):  # a cache that somebody else keeps; then it is looked at again next time
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()


def refuse_errors(report: Report) -> None:
    """Refuse what an audit found errors in.

    Raises:
        DataError: Lists every problem, and how to go on all the same.
    """
    if report.errors:
        raise DataError(
            f"{report.to_text()}\nmend the errors, or train all the same (--unchecked; unchecked=True)"
        )
