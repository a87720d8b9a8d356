"""Learned tensors of the published trainers under the names of the learners here."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vlmcal.errors import DataError, SpecError, nearest

# A rule renames a whole key; block numbers are shifted where ours start elsewhere.
Rule = tuple[str, str, int]
_CONTEXT: tuple[Rule, ...] = ((r"(?:prompt_learner\.)?ctx", "ctx", 0),)
_META_NET: tuple[Rule, ...] = (
    (r"(?:prompt_learner\.)?meta_net\.linear1\.(weight|bias)", r"meta_net.0.\1", 0),
    (r"(?:prompt_learner\.)?meta_net\.linear2\.(weight|bias)", r"meta_net.2.\1", 0),
)
_COUPLED: tuple[Rule, ...] = (
    (r"prompt_learner\.proj\.(weight|bias)", r"proj.\1", 0),
    (r"prompt_learner\.compound_prompts_text\.(\d+)", r"text_deep.{}", 0),
    (r"prompt_learner\.compound_prompt_projections\.(\d+)\.(weight|bias)", r"deep_proj.{}.\2", 0),
)
_TEXT_DEEP: tuple[Rule, ...] = (
    (r"text_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", r"text_deep.{}", -1),
)
_IMAGE_DEEP: tuple[Rule, ...] = (
    (r"image_encoder\.VPT", r"image_prompts.0", 0),
    (r"image_encoder\.transformer\.resblocks\.(\d+)\.VPT_shallow", r"image_prompts.{}", 0),
)


@dataclass(frozen=True)
class Trainer:
    """How a trainer's checkpoint becomes a learner.

    Attributes:
        method: The learner.
        rules: Names in the checkpoint and ours.
        options: (tensors under our names, settings of the trainer by their last name) -> options.
        section: Section of its settings, "TRAINER.<section>".
    """

    method: str
    rules: tuple[Rule, ...]
    options: Callable[[Mapping[str, Tensor], Mapping[str, str]], dict[str, Any]]
    section: str


def _coop(found: Mapping[str, Tensor], settings: Mapping[str, str]) -> dict[str, Any]:
    ctx = found["ctx"]
    position = settings.get("CLASS_TOKEN_POSITION") or "end"
    return {
        "n_ctx": ctx.shape[-2],
        "init": None,
        "position": position,
        "class_specific": ctx.ndim == 3,
    }


def _shared_context(found: Mapping[str, Tensor], _: Mapping[str, str]) -> dict[str, Any]:
    return {"n_ctx": found["ctx"].shape[0], "init": None}


def _cocoop(found: Mapping[str, Tensor], settings: Mapping[str, str]) -> dict[str, Any]:
    hidden, width = found["meta_net.0.weight"].shape
    return {**_shared_context(found, settings), "reduction": width // hidden}


def _words(settings: Mapping[str, str]) -> dict[str, Any]:
    """The words around which deep prompts are laid; those behind the learned tokens stay in the prompt."""
    return {"init": settings["CTX_INIT"] or None} if "CTX_INIT" in settings else {}


def _count(found: Mapping[str, Tensor], start: str) -> int:
    return sum(name.startswith(start) for name in found)


def _maple(found: Mapping[str, Tensor], settings: Mapping[str, str]) -> dict[str, Any]:
    depth = 1 + _count(found, "text_deep.")
    return {"n_ctx": found["ctx"].shape[0], "depth": depth, **_words(settings)}


def _independent(found: Mapping[str, Tensor], settings: Mapping[str, str]) -> dict[str, Any]:
    image = _count(found, "image_prompts.")
    return {
        "n_ctx": found["ctx"].shape[0],
        "n_image": found["image_prompts.0"].shape[0] if image else 0,
        "text_depth": 1 + _count(found, "text_deep."),
        "image_depth": image or None,
        **_words(settings),
    }


def _vpt(found: Mapping[str, Tensor], _: Mapping[str, str]) -> dict[str, Any]:
    return {"n_tokens": found["image_prompts.0"].shape[0], "depth": _count(found, "image_prompts.")}


# By the name that a trainer registers with Dassl, in lower case and up to the first "_" ("CoOp_BiomedCLIP").
TRAINERS: Mapping[str, Trainer] = {
    "coop": Trainer("coop", _CONTEXT, _coop, "COOP"),
    "cocoop": Trainer("cocoop", (*_CONTEXT, *_META_NET), _cocoop, "COCOOP"),
    "kgcoop": Trainer("kgcoop", _CONTEXT, _shared_context, "COOP"),
    "prograd": Trainer("prograd", _CONTEXT, _shared_context, "COOP"),
    "maple": Trainer("maple", (*_CONTEXT, *_COUPLED), _maple, "MAPLE"),
    "ivlp": Trainer("ivlp", (*_CONTEXT, *_TEXT_DEEP, *_IMAGE_DEEP), _independent, "IVLP"),
    "promptsrc": Trainer(
        "prompt_src", (*_CONTEXT, *_TEXT_DEEP, *_IMAGE_DEEP), _independent, "PROMPTSRC"
    ),
    "vpt": Trainer("vpt", _IMAGE_DEEP, _vpt, "VPT"),
}


def find_trainer(name: str) -> Trainer:
    """The trainer of this name, in its own or in our spelling.

    Raises:
        SpecError: None is known; names the nearest.

    Example:
        >>> find_trainer("PromptSRC").method, find_trainer("CoOp_BiomedCLIP").method
        ('prompt_src', 'coop')
    """
    plain = name.lower()
    for spelling in (plain.partition("_")[0], plain.replace("_", "")):
        if spelling in TRAINERS:
            return TRAINERS[spelling]
    raise SpecError(
        f'no checkpoints of a trainer "{name}" are read; {nearest(plain, TRAINERS)}. Where another name '
        "stands for one of these, say it with --method"
    )


def learned_tensors(
    found: Mapping[str, Tensor], trainer: Trainer, where: str
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Learned tensors under our names, in float32, and the fixed token embeddings that lie beside them.

    The towers that whole-model checkpoints repeat are passed over: they are the frozen backbone's.

    Raises:
        DataError: The checkpoint lacks what the trainer learns.
    """
    learned = {}
    for key, value in found.items():
        for pattern, ours, shift in trainer.rules:
            match = re.fullmatch(pattern, key)
            if match is not None:
                number = int(match[1]) + shift if "{}" in ours else 0
                learned[match.expand(ours.replace("{}", str(number)))] = value.float()
    fixed = {
        name: found[key]
        for name in ("token_prefix", "token_suffix")
        for key in (name, f"prompt_learner.{name}")
        if key in found
    }
    needed = {rule[1] for rule in trainer.rules[:1]} - set(learned)
    if needed:
        raise DataError(
            f"{where}: expected the learned {', '.join(sorted(needed))} of {trainer.method}, found "
            f"{_some(sorted(found))}; if another method was trained, name it with --method"
        )
    return learned, fixed


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:6]) + (f", ... ({len(names)} in all)" if len(names) > 6 else "")
