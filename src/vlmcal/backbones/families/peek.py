"""Names of the tensors in a weight file that has no configuration beside it."""

from functools import lru_cache
from pathlib import Path

from vlmcal.backbones.families.base import Source
from vlmcal.backbones.weights import read_weights
from vlmcal.errors import BackboneError


def tensor_names(source: Source) -> frozenset[str]:
    """Names in the source's weight file, or none where there is no single one."""
    if source.path is None:
        return frozenset()
    try:
        path = source.weight_file("pytorch_model.bin", "model.safetensors")
    except BackboneError:
        return frozenset()
    stat = path.stat()
    return _names(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _names(path: Path, changed: int, size: int) -> frozenset[str]:
    return frozenset(read_weights(path, str(path)))
