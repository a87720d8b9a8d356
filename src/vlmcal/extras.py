"""Optional packages: which extra of vlmcal brings which module, and saying so where one is missing."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from vlmcal.errors import MissingExtraError

# Extra -> modules that its packages bring, the telling one first; the packages stand in pyproject.toml.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "train": ("torch", "transformers", "tokenizers", "huggingface_hub"),
    "mllm": ("openai",),
    "open-clip": ("open_clip",),
    "accelerate": ("accelerate",),
    "backbones": ("ftfy",),
    "excel": ("openpyxl",),
    "torchmetrics": ("torchmetrics",),
    "onnx": ("onnx",),
    "dicom": ("pydicom",),
    "nifti": ("nibabel",),
    "app": ("fastapi", "starlette", "uvicorn", "python_multipart"),
    "cloud": ("fsspec", "s3fs"),
    "ray": ("ray",),
    "slurm": ("submitit",),
    "trackers": ("wandb", "mlflow", "tensorboard"),
}


def extra_of(module: str) -> str | None:
    """The extra that brings a module, or None where none does.

    Example:
        >>> extra_of("torch.nn"), extra_of("numpy")
        ('train', None)
    """
    top = module.partition(".")[0]
    return next((extra for extra, modules in EXTRAS.items() if top in modules), None)


def available(module: str) -> bool:
    """Whether a module can be imported; it is not imported."""
    from importlib.util import find_spec  # not while vlmcal is imported

    return find_spec(module) is not None


@contextmanager
def naming_extras() -> Iterator[None]:
    """A module that is missing inside the block, though an extra brings it, is told with that extra.

    Raises:
        MissingExtraError: In place of the ModuleNotFoundError.

    Example:
        >>> with naming_extras():
        ...     raise ModuleNotFoundError(name="torch")
        Traceback (most recent call last):
        ...
        vlmcal.errors.MissingExtraError: torch is not installed; this needs the extra: pip install ...
    """
    try:
        yield
    except ModuleNotFoundError as error:
        extra = extra_of(error.name or "")
        if extra is None or isinstance(error, MissingExtraError):
            raise
        raise MissingExtraError(
            f"{error.name} is not installed; this needs the extra: pip install 'vlmcal[{extra}]'",
            name=error.name,
        ) from error
