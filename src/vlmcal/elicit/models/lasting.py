"""Refusals that no repetition mends: what they are about, and what a person can do."""

import re
from collections.abc import Mapping
from typing import Literal

from vlmcal.elicit.models.dialect import Complaint, refuses_images

Kind = Literal["key", "credit", "images", "context", "model"]

# In this order: what names a length is not about the model's name.
_WORDS: Mapping[Kind, tuple[str, ...]] = {
    "key": (
        r"(?:invalid|incorrect|wrong|missing|expired|no|bad) (?:api|access|x-api|authentication|auth)",
        r"api key (?:not|is not|is in)|authentication_error|permission_denied|unauthori[sz]ed",
    ),
    "credit": (r"insufficient_quota|credit balance|no credits?\b|billing|payment required",),
    "context": (
        r"context[ _-](?:length|size|window)|maximum context|exceed_context",
        r"(?:prompt|input|request) is too long|too many (?:input |prompt )?tokens|request too large",
        r"exceeds? the (?:available )?context|(?:input|prompt)[^.\n]{0,40}longer than",
        r"max(?:imum)? (?:prompt|sequence|model|input)[ _-]len",
    ),
    "model": (
        r"model_not_found|(?:no such|unknown|invalid|no) model\b|try pulling it",
        r"model[^.\n]{0,90}(?:not found|(?:does not|doesn't|not) exist|not loaded|not available)",
    ),
}
_KINDS = {kind: re.compile("|".join(words), re.I) for kind, words in _WORDS.items()}
# What a person can do about it.
ADVICE: Mapping[Kind, str] = {
    "key": "the server refuses the key",
    "credit": "the account has no credit left",
    "images": (
        "the model takes no images; name a vision-language model with --name, or start the server with one "
        "(llama.cpp needs --mmproj)"
    ),
    "context": (
        "the question does not fit into the context that the server gives; start it with a longer one "
        "(vLLM --max-model-len, llama.cpp -c, Ollama num_ctx) or send smaller images"
    ),
    "model": "the server has no such model",
}


def lasting(complaint: Complaint) -> Kind | None:
    """What a refusal is about that will not pass, or None where it may be about anything.

    Example:
        >>> lasting(Complaint("image input is not supported - hint: you may need to provide the mmproj"))
        'images'
        >>> lasting(Complaint("Unsupported image format")), lasting(Complaint("busy"))
        (None, None)
    """
    if refuses_images(complaint):
        return "images"
    told = f"{complaint.message} {complaint.code}"
    return next((kind for kind, words in _KINDS.items() if words.search(told)), None)
