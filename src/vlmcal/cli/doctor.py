"""``vlmcal doctor``: is this installation sound, and what can it use?"""

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import typer

from vlmcal.extras import EXTRAS, available

# What the core stands on; what extras bring: vlmcal.extras.
PACKAGES = ("numpy", "scipy", "scikit-learn", "pyarrow", "safetensors")


def doctor() -> None:
    """Print versions, extras, devices and folders; exit code 2 if something is broken."""
    from vlmcal import __version__

    problems = []
    typer.echo(f"vlmcal {__version__}, Python {platform.python_version()}, {platform.platform()}")
    for package in PACKAGES:
        try:
            typer.echo(f"  {package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            problems.append(f"{package} is not installed; run: pip install vlmcal")
    if available("torchvision"):
        typer.echo("  torchvision is installed but not needed; if transformers fails, uninstall it")
    typer.echo("extras:")
    for extra, modules in EXTRAS.items():
        typer.echo(f"  {_extra(extra, modules)}")
    problems += _folders()
    if all(available(module) for module in EXTRAS["train"]):
        problems += _devices() + _backbone()
    offline = os.environ.get("HF_HUB_OFFLINE") or os.environ.get("TRANSFORMERS_OFFLINE")
    typer.echo(
        f"model hub: {'offline (environment)' if offline else 'used when a hub id is named'}"
    )
    for problem in problems:
        typer.echo(f"problem: {problem}")
    if problems:
        raise typer.Exit(2)
    typer.echo("everything works")


def _extra(extra: str, modules: tuple[str, ...]) -> str:
    """The packages of an extra with their versions, or what installs them."""
    missing = [module for module in modules if not available(module)]
    if missing:
        return f"{extra} is absent ({', '.join(missing)}): pip install 'vlmcal[{extra}]'"
    return f"{extra} ({', '.join(map(_version, modules))})"


def _version(module: str) -> str:
    try:
        return f"{module} {importlib.metadata.version(module)}"
    except importlib.metadata.PackageNotFoundError:  # the package is called otherwise
        return module


def _devices() -> list[str]:
    try:
        import torch
    except (ImportError, OSError) as error:
        return [f"torch cannot be imported: {error}"]
    found = [f"cpu ({torch.get_num_threads()} threads)"]
    if torch.cuda.is_available():
        found += [
            f"cuda:{i} {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())
        ]
    if torch.backends.mps.is_available():
        found.append("mps")
    typer.echo(f"devices: {', '.join(found)}")
    return []


def _folders() -> list[str]:
    from vlmcal.io.cache_dir import default_cache_dir

    folder: Path = default_cache_dir()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        return [
            f"cache folder {folder} cannot be written ({error}); set VLMCAL_CACHE to another one"
        ]
    typer.echo(f"cache: {folder}")
    return []


def _backbone() -> list[str]:
    try:
        from vlmcal.backbones import load_backbone

        encoder = load_backbone("pocket")
    except Exception as error:  # a broken installation can fail in any way; that is reported
        return [f"the pocket backbone cannot be loaded: {type(error).__name__}: {error}"]
    typer.echo(f"backbone: pocket ({encoder.fingerprint[:12]}), prefix {sys.prefix}")
    return []
