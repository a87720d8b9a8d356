"""From what a user types to a chat model."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vlmcal.elicit.models.base import ChatModel
from vlmcal.elicit.models.native import NATIVE
from vlmcal.elicit.models.scripted import scripted_from_file
from vlmcal.errors import SpecError


def load_chat_model(
    spec: str,
    *,
    name: str | None = None,
    api_key_env: str = "OPENAI_API_KEY",
    timeout: float = 120.0,
    device: str = "cpu",
    dtype: str | None = None,
    extra: Mapping[str, Any] | None = None,
    batch: Path | None = None,
    guided: bool = False,
) -> ChatModel:
    """The chat model that ``spec`` names.

    Args:
        spec: ``http://...`` or ``https://...`` of an OpenAI-compatible server (with its ``/v1``),
            ``KIND:NAME`` or ``KIND+http://...`` of a server with a dialect of its own (anthropic, gemini,
            ollama, responses),
            ``hf:NAME`` or ``hf:FOLDER`` of a transformers image-text model, or ``scripted:FILE``.
        name: Model on the server; needed where it has several.
        api_key_env: Environment variable with the server's key.
        timeout: Seconds until a call to the server is given up.
        device: Of a local model.
        dtype: Of a local model; None for float32.
        extra: Further fields of every request to a server.
        batch: File of the batches under way, to ask through the server's batch API.
        guided: Whether the server's guided choice is used where it has one.

    Raises:
        SpecError: ``spec`` is none of these.
        BackboneError: The model cannot be loaded or a package is missing.
    """
    if spec.startswith(("http://", "https://")):
        from vlmcal.elicit.models.openai_http import openai_chat

        if batch is not None:
            from vlmcal.elicit.models.batch import BatchChat
            from vlmcal.elicit.models.server import find_server

            if not name:
                raise SpecError("--batch: name the model with --name")
            server = find_server(spec, api_key_env)
            return BatchChat(server, name, state=batch, timeout=timeout, extra=extra, guided=guided)
        return openai_chat(
            spec, model=name, api_key_env=api_key_env, timeout=timeout, extra=extra, guided=guided
        )
    if guided:
        raise SpecError(f"--guided: only http(s)://HOST/v1 has guided choice, got {spec}")
    if re.match(rf"(?:{'|'.join(NATIVE)})[:+]", spec):
        from vlmcal.elicit.models.native_http import native_chat

        return native_chat(
            spec, model=name, api_key_env=api_key_env, timeout=timeout, extra=extra, batch=batch
        )
    if batch is not None:
        raise SpecError(f"--batch: only http(s)://HOST/v1 and anthropic have batches, got {spec}")
    if spec.startswith("hf:"):
        from vlmcal.elicit.models.transformers_local import transformers_chat

        return transformers_chat(spec.removeprefix("hf:"), device=device, dtype=dtype)
    if spec.startswith("scripted:"):
        return scripted_from_file(Path(spec.removeprefix("scripted:")).expanduser())
    raise SpecError(
        "model: expected http(s)://HOST/v1, KIND:NAME (anthropic, gemini, ollama, responses), hf:NAME, "
        f'hf:FOLDER or scripted:FILE, got "{spec}"'
    )
