"""Where each token of each class's prompt comes from: the vocabulary or the learned context."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast, get_args

import torch
from torch import Tensor

from vlmcal.backbones.base import DualEncoder
from vlmcal.errors import DataError, SpecError, require_known

Position = Literal["end", "middle", "front"]
_CONTEXT = -1
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PromptLayout:
    """Prompts of K classes with M learned context tokens, as a table of token sources.

    ====== =====================================================================
    end    start, context, words, name, suffix, end token
    middle start, first M // 2 context tokens, words, name, the others, suffix, end
    front  start, words, name, context, suffix, end
    ====== =====================================================================

    The end token has the same index in all three. Name and suffix are tokenised together ("cat.")
    and cut after as many tokens as the name alone has, as in the published CoOp code.

    Attributes:
        class_names: K names as given; underscores are read as spaces.
        n_ctx: M, number of learned tokens (0 for fixed prompts).
        position: Where the class name stands.
        ids: (K, L) token ids; context slots hold the end token, everything after the end is padding.
        slots: (K, L) index of the context token at a place, or -1.
        ends: (K,) index of the end token, whose state is the text feature of a causal tower.
        keeps_width: L is part of what the model computes (padding is seen), so pieces keep it.

    Example:
        >>> from vlmcal.backbones import load_backbone
        >>> layout = PromptLayout.build(load_backbone("pocket"), ["zero", "one"], n_ctx=4)
        >>> layout.slots[0].tolist(), layout.ends.tolist()
        ([-1, 0, 1, 2, 3, -1, -1, -1], [7, 7])

    Source:
        Zhou et al., Learning to Prompt for Vision-Language Models, IJCV 2022, arXiv:2109.01134.
    """

    class_names: tuple[str, ...]
    n_ctx: int
    position: Position
    ids: Tensor
    slots: Tensor
    ends: Tensor
    keeps_width: bool = False
    _cache: dict[Hashable, object] = field(default_factory=dict, repr=False)

    @classmethod
    def build(
        cls,
        encoder: DualEncoder,
        class_names: Sequence[str],
        *,
        n_ctx: int,
        position: Position = "end",
        prefix: str = "",
        suffix: str = ".",
    ) -> "PromptLayout":
        """Lay out the prompts of ``class_names``.

        Args:
            encoder: Gives the tokens and the context length.
            class_names: K names; an empty name gives a prompt without a class.
            n_ctx: M, number of learned tokens.
            position: Where the class name stands.
            prefix: Fixed words directly before the name ("of a").
            suffix: Fixed text directly after the name (".", ", a type of pet.").

        Raises:
            DataError: A prompt does not fit; names the class, its length and the limit.
            SpecError: Unknown position or negative n_ctx.
        """
        require_known(position, get_args(Position), "unknown position")
        if n_ctx < 0 or not class_names:
            raise SpecError(
                f"expected n_ctx >= 0 and one class or more, got n_ctx={n_ctx} and "
                f"{len(class_names)} classes"
            )
        words = [" ".join(f"{prefix} {name}".replace("_", " ").split()) for name in class_names]
        names = encoder.token_ids(words)
        whole = encoder.token_ids([f"{text}{suffix}" for text in words])
        rows = []
        for name, alone, tokens in zip(class_names, names, whole, strict=True):
            if len(tokens) + n_ctx > encoder.longest_text:
                n_tokens = len(tokens) + n_ctx + encoder.context_length - encoder.longest_text
                raise DataError(
                    f'class name "{name}": its prompt has {n_tokens} tokens ({n_ctx} of context), at '
                    f"most {encoder.context_length} fit; shorten the name or use fewer context tokens"
                )
            rows.append(_arrange(tokens, len(alone), n_ctx, position))
        return cls.of_tokens(encoder, class_names, rows, n_ctx=n_ctx, position=position)

    @classmethod
    def of_tokens(
        cls,
        encoder: DualEncoder,
        names: Sequence[str],
        rows: Sequence[Sequence[int]],
        *,
        n_ctx: int = 0,
        position: Position = "end",
    ) -> "PromptLayout":
        """Prompts of given tokens, -1 where a context token stands; start, end and padding are added."""
        opening = [] if encoder.sos_id is None else [encoder.sos_id]
        whole = [[*opening, *row, encoder.eos_id] for row in rows]
        width = encoder.window if encoder.padding == "full" else max(map(len, whole))
        ids = torch.full((len(rows), width), encoder.pad_id, dtype=torch.long)
        slots = torch.full_like(ids, -1)
        for k, row in enumerate(whole):
            sources = torch.tensor(row)
            is_context = sources == _CONTEXT
            ids[k, : len(row)] = sources.masked_fill(is_context, encoder.eos_id)
            slots[k, : len(row)][is_context] = torch.arange(n_ctx)
        ends = torch.tensor([len(row) - 1 for row in whole])
        keeps = encoder.padding != "free"
        return cls(tuple(names), n_ctx, position, ids, slots, ends, keeps)

    def __len__(self) -> int:
        return len(self.class_names)

    def cached(self, key: Hashable, make: Callable[[], T]) -> T:
        """What ``make`` returned for ``key`` the first time; kept as long as the layout."""
        if key not in self._cache:
            with torch.inference_mode(False):  # index tensors may be kept for a backward pass
                self._cache[key] = make()
        return cast(T, self._cache[key])

    def classes(self, start: int, stop: int) -> "PromptLayout":
        """The prompts of classes ``start`` to ``stop - 1``."""
        return self.cached(("classes", start, stop), lambda: self._slice(slice(start, stop)))

    def _slice(self, rows: slice) -> "PromptLayout":
        ends = self.ends[rows]
        width = self.ids.shape[1] if self.keeps_width else int(ends.max()) + 1
        return PromptLayout(
            self.class_names[rows],
            self.n_ctx,
            self.position,
            self.ids[rows, :width],
            self.slots[rows, :width],
            ends,
            self.keeps_width,
        )

    def shared_length(self, *, class_context: bool) -> int:
        """Number of leading tokens that are the same for all classes; at least the start token.

        Args:
            class_context: Each class has its own context tokens, so only fixed tokens are shared.
        """
        return self.cached(("shared", class_context), lambda: self._shared(class_context))

    def _shared(self, class_context: bool) -> int:
        same = (self.ids == self.ids[0]).all(dim=0) & (self.slots == self.slots[0]).all(dim=0)
        if class_context:
            same &= (self.slots < 0).all(dim=0)
        length = int(same.int().cumprod(dim=0).sum())
        return min(length, int(self.ends.min()))


def _arrange(tokens: list[int], name_length: int, n_ctx: int, position: Position) -> list[int]:
    name, suffix = tokens[:name_length], tokens[name_length:]
    before = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[position]
    return [_CONTEXT] * before + name + [_CONTEXT] * (n_ctx - before) + suffix
