"""Files of a model on the Hugging Face hub, and a plain word for everything that can go wrong there.

The hub's library is imported by whoever asks it: that takes longer than reading the embedded model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from vlmcal.errors import BackboneError

SAFETENSORS = ("model.safetensors", "model.safetensors.index.json", "model-*.safetensors")
PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "pytorch_model-*.bin")


def snapshot_download(**options: Any) -> str:
    """The library's function of this name."""
    from huggingface_hub import snapshot_download as download

    return str(download(**options))


def fetch(
    repo: str,
    settings: Sequence[str],
    check: Callable[[Path], None],
    *,
    weights: Callable[[Path], Sequence[Sequence[str]]] | None = None,
    revision: str | None = None,
    offline: bool = False,
) -> Path:
    """The folder of a hub model in the hub's own cache; what is not there is downloaded.

    Args:
        repo: Hub id, such as "openai/clip-vit-base-patch16".
        settings: Patterns of all files but the weights.
        check: Called with the folder once it holds the settings, before a large download.
        weights: Patterns of the weights for the folder, the preferred first; by default those of the
            transformers library, safetensors before pickled.
        revision: Branch, tag or commit.
        offline: Only look into the cache.
    """
    from huggingface_hub.errors import OfflineModeIsEnabled

    def get(patterns: Sequence[str]) -> Path:
        download = partial(
            snapshot_download, repo_id=repo, revision=revision, allow_patterns=list(patterns)
        )
        try:
            return Path(download(local_files_only=offline))
        except OfflineModeIsEnabled:  # some releases raise it before they look into the cache
            return Path(download(local_files_only=True))

    folder = get(settings)
    check(folder)
    choices = (SAFETENSORS, PICKLED) if weights is None else weights(folder)
    for patterns in choices:
        if matching(get(patterns), patterns):
            break
    return folder


def cached_files(repo: str, files: Sequence[str], *, offline: bool) -> Path | None:
    """The folder of a repository that holds these small files, downloaded unless ``offline``; None without.

    The first file must be there, the others may be missing.
    """
    from huggingface_hub import errors as hub

    unavailable = (
        *(hub.HfHubHTTPError, hub.HFValidationError, hub.LocalEntryNotFoundError),
        *(hub.OfflineModeIsEnabled, OSError),
    )
    for local in (True,) if offline else (True, False):
        with suppress(*unavailable):
            patterns = list(files)
            found = snapshot_download(repo_id=repo, allow_patterns=patterns, local_files_only=local)
            if (Path(found) / files[0]).is_file():
                return Path(found)
    return None


@contextmanager
def hub_errors(
    model: str,
    repo: str,
    *,
    revision: str | None = None,
    spelling: str = "",
    why: str,
    instead: str,
) -> Iterator[None]:
    """Errors of the hub as one message that says what to do.

    Args:
        model: What the user asked for, such as 'backbone "a/b"'.
        repo: Hub id.
        revision: Branch, tag or commit that was asked for.
        spelling: What else is known, where there is no such repository.
        why: Why it may not be reached.
        instead: What to do without a network.

    Raises:
        BackboneError: The id is not valid, there is no such model or revision, it asks for access, or it
            is neither in the cache nor can it be downloaded.
    """
    from huggingface_hub import errors as hub

    at = f" --revision {revision}" if revision else ""
    try:
        yield
    except hub.HFValidationError as error:
        raise BackboneError(f'"{repo}" is not a valid hub id ({error})') from error
    except hub.GatedRepoError as error:
        raise BackboneError(
            f"{model} asks for access on the hub; accept its terms there, then: "
            f"hf auth login && hf download {repo}{at}"
        ) from error
    except hub.RevisionNotFoundError as error:
        raise BackboneError(f'{model} has no revision "{revision}" on the hub') from error
    except hub.RepositoryNotFoundError as error:
        raise BackboneError(
            f'the hub has no public model "{repo}"; check the spelling{spelling}. '
            "A private model needs: hf auth login"
        ) from error
    except (
        hub.LocalEntryNotFoundError,
        hub.OfflineModeIsEnabled,
        hub.HfHubHTTPError,
        OSError,
    ) as error:
        raise BackboneError(
            f"{model} is not on this machine and {why}; where there is network, run:\n"
            f"  hf download {repo}{at}\n"
            f"or {instead}"
        ) from error


def matching(folder: Path, patterns: Sequence[str]) -> list[Path]:
    """Files of the folder that fit one of the patterns, sorted."""
    return sorted(path for pattern in patterns for path in folder.glob(pattern))
