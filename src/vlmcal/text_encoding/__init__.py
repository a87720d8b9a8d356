"""Text features of learned prompts: exact, and without work that cannot change the result."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vlmcal.text_encoding.encode import encode_prompts as encode_prompts
    from vlmcal.text_encoding.layout import PromptLayout as PromptLayout
    from vlmcal.text_encoding.reference import encode_prompts_reference as encode_prompts_reference

# Public name -> module that defines it; loaded on first use, so that importing costs no torch.
_PUBLIC = {
    "PromptLayout": "vlmcal.text_encoding.layout",
    "encode_prompts": "vlmcal.text_encoding.encode",
    "encode_prompts_reference": "vlmcal.text_encoding.reference",
}
__all__ = ["PromptLayout", "encode_prompts", "encode_prompts_reference"]


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'vlmcal.text_encoding' has no attribute {name!r}")
