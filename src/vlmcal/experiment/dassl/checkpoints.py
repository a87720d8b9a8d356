"""Tensors of trainers' checkpoints; whatever else a file holds becomes an inert placeholder."""

import collections
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch._utils
from torch import Tensor

from vlmcal.backbones import torchscript
from vlmcal.errors import DataError

# What tensors in containers are made of; everything else that a file names is replaced by a placeholder.
_ALLOWED: Mapping[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("collections", "defaultdict"): collections.defaultdict,
    ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
}


class _Placeholder:
    """Stands for an object of any class: takes what its constructor took and does nothing with it."""

    def __init__(self, *given: Any, **named: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Forget it."""

    def extend(self, values: Any) -> None:
        """Forget them."""

    def __call__(self, *given: Any, **named: Any) -> "_Placeholder":
        return self


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module == "torch" and name.endswith("Storage") and name.isidentifier():
            return getattr(torch, name, _Placeholder)
        return _ALLOWED.get((module, name), _Placeholder)


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_INERT = SimpleNamespace(
    Unpickler=_Unpickler, load=_load, UnpicklingError=pickle.UnpicklingError, __name__="inert"
)


def read_checkpoint(path: Path) -> Any:
    """What ``torch.save`` wrote, with tensors and containers only.

    Trainers store their schedulers and optimisers whole, so that ``weights_only`` refuses the file; here
    whatever is no tensor and no container is a placeholder, and nothing of the file runs.

    Args:
        path: Such as ``prompt_learner/model.pth.tar-50``.

    Raises:
        DataError: The file is damaged.
    """
    try:
        if zipfile.is_zipfile(path) and torchscript.is_archive(path):
            raise DataError(f"{path} is a TorchScript archive, not a checkpoint of a trainer")
        # By the unpickler above, in place of torch's choice between all classes and weights_only.
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=_INERT)
    except DataError:
        raise
    except Exception as error:  # damaged files raise many types
        raise DataError(
            f"{path}: expected a checkpoint written by torch.save, cannot read it "
            f"({type(error).__name__}: {str(error)[:200]}); copy the file again"
        ) from error


def tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    """Named tensors of a checkpoint; a bare tensor is called "ctx".

    Names lose the prefixes "module." (DataParallel) that every name shares.

    Raises:
        DataError: It holds none.
    """
    if isinstance(content, Tensor):
        return {"ctx": content.detach()}
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    found = (
        {str(key): value.detach() for key, value in content.items() if isinstance(value, Tensor)}
        if isinstance(content, Mapping)
        else {}
    )
    if not found:
        raise DataError(
            f"{path}: expected a state_dict or a tensor, found {type(content).__name__} without tensors"
        )
    if all(key.startswith("module.") for key in found):
        found = {key.removeprefix("module."): value for key, value in found.items()}
    return found
