"""WebDataset: tar archives whose members of one key are one sample (key.jpg, key.cls, key.json)."""

import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from vlmcal.data.assemble import Rows, as_templates, assemble
from vlmcal.data.base import DATASETS, accepts
from vlmcal.data.frames import Frame, show_as
from vlmcal.data.label_column import labels_of
from vlmcal.data.problems import Findings, shown
from vlmcal.data.splits import split_alias, split_of_file
from vlmcal.errors import DataError, nearest
from vlmcal.io.image_files import IMAGE_SUFFIXES
from vlmcal.io.json_text import parse_json
from vlmcal.io.unicode_text import text_lines
from vlmcal.types.dataset import Dataset
from vlmcal.types.limits import Seed
from vlmcal.types.picture import Bytes, Picture

# the rule of WebDataset: up to the first dot of the name
_KEY = re.compile(r"^((?:.*/|)[^./]+)\.([^/]+)$")
_PACKED: Final = (".tar.gz", ".tgz", ".tar.xz", ".tar.bz2", ".tar.zst")
_LABELS: Final = ("cls", "label", "json")
_CLASSES, _TEMPLATES = "classnames.txt", "zeroshot_classification_templates.txt"


@dataclass
class _Sample:
    key: str
    shard: Path
    image: Bytes | None = None
    texts: dict[str, bytes] = field(default_factory=dict)


def _shards(path: Path) -> list[Path]:
    """The archives of a folder: in it, and in its folders that are called like splits."""
    if not path.is_dir():
        return [path] if path.name.lower().endswith((".tar", *_PACKED)) else []
    places = [path, *(p for p in sorted(path.iterdir()) if p.is_dir() and split_alias(p.name))]
    return [
        file
        for place in places
        for file in sorted(place.iterdir())
        if file.name.lower().endswith((".tar", *_PACKED)) and not file.name.startswith(".")
    ]


@DATASETS.register("webdataset")
@accepts(lambda path: bool(_shards(path)))
def webdataset(
    path: str | Path,
    *,
    label: str = "",
    group: str = "",
    class_names: Sequence[str] | None = None,
    templates: str | Sequence[str] | None = None,
    name: str = "",
    split_seed: Seed = 0,
    window: str = "",
    frame: Frame = None,
    by_patient: bool = True,
) -> Dataset:
    """Load a tar archive, or a folder of them; images are read where they lie, nothing is unpacked.

    Members with the same name up to its first dot are one sample: an image and its label, ``key.cls`` (a
    number or a name) or ``key.json``. A shard belongs to the split that its name (``train-000001.tar``) or
    folder (``test/0.tar``) begins with. A file ``classnames.txt`` beside the shards, one name a line, says
    what numbers mean, and ``zeroshot_classification_templates.txt`` the prompts, as CLIP benchmark has them.

    Args:
        path: A ``.tar`` file, or a folder of such files or of folders train, val, test with such files.
        label: Member that holds the label, such as "cls" or "txt", or "json.KEY" for a key in it; by default
            "cls", else "label", else "json.label".
        group: Patient or slide, written likewise.
        class_names: K names in label order.
        templates: Zero-shot prompts with one ``{}``.
        name: Name for reports; default: the name of the path.
        split_seed: Seed of the stratified 50/20/30 split where no shard names a split.
        window: "LOW..HIGH" for images of more than 8 bits (:class:`vlmcal.types.picture.View`).
        frame: Of DICOM series: a number from 0, "middle", or "all".
        by_patient: Whether the patient of DICOM files is their group.

    Raises:
        InvalidDataError: Samples without an image or a label, splits that some shards have and others have
            not, unknown labels: all at once.
        DataError: No such file, a damaged or compressed archive.

    Example:
        >>> import io, tempfile
        >>> file = Path(tempfile.mkdtemp(), "pets-train.tar")
        >>> with tarfile.open(file, "w") as archive:
        ...     for member, content in {"1.png": b"...", "1.cls": b"cat"}.items():
        ...         about = tarfile.TarInfo(member)
        ...         about.size = len(content)
        ...         archive.addfile(about, io.BytesIO(content))
        >>> data = webdataset(file)
        >>> data.class_names, data.splits.tolist(), str(data.images[0]).rpartition("/")[2]
        (('cat',), ['train'], 'pets-train.tar[1.png]')
    """
    top = Path(path).expanduser()
    shards = _shards(top) if top.exists() else []
    if not shards:
        raise DataError(f"{top}: no such file, or no .tar files in it or in its folders of splits")
    findings = Findings(name or top.resolve().name.removesuffix(".tar"))
    samples = [sample for shard in shards for sample in _samples(shard)]
    splits = _splits(shards, findings)
    kept = [sample for sample in samples if sample.image is not None]
    if len(kept) < len(samples):
        bare = [f"{s.shard.name}: {s.key}" for s in samples if s.image is None]
        findings.warning("no-image", f"{len(bare)} samples have no image: {shown(bare)}", bare)
    where = label or next((k for k in _LABELS if any(k in s.texts for s in kept)), "cls")
    column: list[str | None] = [_field(s, "json.label" if where == "json" else where) for s in kept]
    if not any(column):
        inside = sorted({ending for s in kept for ending in s.texts})
        raise DataError(
            f'{top}: no sample has a label "{where}"; pass label=NAME, or pass label=json.KEY: '
            f"{nearest(where, inside)}"
        )
    base = top if top.is_dir() else top.parent
    names = _lines(base / _CLASSES) if class_names is None else list(class_names)
    labels, classes = labels_of({"label": column}, "label", "", names or None, findings)
    rows = Rows(
        images=[Picture(s.shard, part=s.image) for s in kept],
        labels=labels,
        ids=[f"{s.shard.relative_to(base).as_posix()}:{s.key}" for s in kept],
        splits=None if splits is None else [splits[s.shard] for s in kept],
        groups=[_field(s, group) or "" for s in kept] if group else None,
    )
    if rows.groups is not None and not all(rows.groups):
        missing = [n for n, value in zip(rows.ids, rows.groups, strict=True) if not value]
        findings.error("no-group", f'{len(missing)} samples have no "{group}": {shown(missing)}')
    show_as(rows, findings, window=window, frame=frame, by_patient=by_patient)
    prompts = _lines(base / _TEMPLATES) if templates is None else []
    return assemble(
        rows,
        classes,
        findings=findings,
        templates=as_templates([p.replace("{c}", "{}") for p in prompts] or templates),
        split_seed=split_seed,
    )


def _samples(shard: Path) -> Iterator[_Sample]:
    """Samples of one archive in their order; only headers and small texts are read."""
    if shard.name.lower().endswith(_PACKED):
        raise DataError(
            f"{shard}: a compressed archive, in which images cannot be found without unpacking all before "
            f"them; uncompress it once: gunzip {shard} (a .tgz: mv it to .tar.gz first)"
        )
    found: dict[str, _Sample] = {}
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                named = _KEY.match(member.name)
                if not member.isfile() or named is None or Path(member.name).name.startswith("."):
                    continue
                key, ending = named[1], named[2].lower()
                sample = found.setdefault(key, _Sample(key, shard))
                if f".{ending}".endswith(IMAGE_SUFFIXES):
                    start = member.offset_data
                    sample.image = sample.image or Bytes(start, member.size, member.name)
                elif member.size < 1 << 20:
                    stream = archive.extractfile(member)
                    sample.texts[ending] = b"" if stream is None else stream.read()
    except (tarfile.TarError, OSError, EOFError) as error:
        raise DataError(f"{shard}: not a readable tar archive ({error}); fetch it again") from error
    yield from found.values()


def _field(sample: _Sample, where: str) -> str | None:
    """The text of a member, or of a key of its JSON; None where there is none."""
    ending, _, key = where.partition(".")
    content = sample.texts.get(where.lower(), sample.texts.get(ending.lower()))
    if content is None:
        return None
    text = content.decode("utf-8", errors="replace").strip()
    if not key:
        return text or None
    try:
        record: Any = parse_json(text)
    except ValueError:
        raise DataError(f"{sample.shard}: {sample.key}.{ending} is not JSON") from None
    value = record.get(key) if isinstance(record, dict) else None
    return None if value is None else str(value)


def _splits(shards: Sequence[Path], findings: Findings) -> dict[Path, str] | None:
    """The split of each shard by its folder or the words of its name; None where no name says one."""
    found = {shard: split_of_file(shard) for shard in shards}
    unknown = [shard.name for shard, split in found.items() if not split]
    if len(unknown) == len(shards):
        return None
    if unknown:
        findings.error(
            "unknown-split",
            f"some archives name a split and {len(unknown)} do not: {shown(unknown)}; rename them to "
            "train-*.tar, val-*.tar or test-*.tar",
            unknown,
        )
    return found


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        return []
    return text_lines(file)
