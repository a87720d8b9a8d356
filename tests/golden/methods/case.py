"""One golden method case: its settings under whatever name, its prompts taken apart."""

from dataclasses import dataclass, field
from functools import cached_property

import torch

from methods import plain
from vlmcal.backbones.zero_shot import clean_name
from vlmcal.learners.base import ClassContext

PHOTO = ("a photo of a {}.",)
_MISSING = object()


@dataclass(frozen=True, eq=False)
class GoldenContext(ClassContext):
    """Class names whose frozen prompts are given as token ids (T, K, L) where the case has them."""

    ids: dict = field(default_factory=dict)

    @cached_property
    def raw_template_features(self):
        ids = self.ids.get(self.class_names)
        if ids is None:
            return super().raw_template_features
        with torch.no_grad():
            return torch.stack([self.encoder.encode_text_ids(rows) for rows in ids])


@dataclass(frozen=True)
class Prompt:
    """The placeholder prompt of a case: n_ctx learned tokens, words after them, name, suffix.

    ``init`` are the words that stand where the last learned tokens are, None for placeholders only.
    """

    n_ctx: int
    init: str | None
    prefix: str
    suffix: str


class Case:
    def __init__(self, document, tensors, encoder):
        self.document, self.tensors = document, tensors
        self.encoder = encoder.with_logit_scale(document["logit_scale"])

    def get(self, *names, default=_MISSING):
        """A setting by any of its plausible names, wherever in ``config`` it stands."""
        found = dict(_flat(self.document.get("config", {})))
        for name in map(plain, names):
            if name in found:
                return found[name]
        if default is _MISSING:
            raise KeyError(f"{self.document['case']}: config has none of {names}: {sorted(found)}")
        return default

    def learned(self, name):
        """A learned tensor, required."""
        if f"learned.{name}" not in self.tensors:
            known = sorted(k for k in self.tensors if k.startswith("learned."))
            raise KeyError(f"{self.document['case']}: no learned.{name} among {known}")
        return self.tensors[f"learned.{name}"]

    def learned_names(self, *starts):
        """Names of the learned tensors that start with any of ``starts``, numbers in order."""
        names = [k.removeprefix("learned.") for k in self.tensors if k.startswith("learned.")]
        return sorted((n for n in names if n.startswith(starts)), key=_natural)

    def classes(self, *keys, templates=PHOTO):
        """Class context whose zero-shot prompts are the token ids under the first present key."""
        names = (tuple(self.document["classnames"]), tuple(self.document["new_classnames"] or ()))
        ids = {}
        for these, start in zip(names, ("", "new."), strict=True):
            key = next((start + key for key in keys if start + key in self.tensors), None)
            if key is not None:
                rows = self.tensors[key]
                ids[these] = rows if rows.ndim == 3 else rows[None]
        given = self.get("teacher_template", "template", default=None)
        templates = (given,) if isinstance(given, str) and given.count("{}") == 1 else templates
        return GoldenContext(self.encoder, names[0], templates, ids)

    @cached_property
    def template(self):
        """The placeholder prompt with {} for the class name."""
        sets = []
        for prompt, name in zip(self.document["prompts"], self.document["classnames"], strict=True):
            name, found = clean_name(name), set()
            for start in range(len(prompt)):
                if prompt.startswith(name, start):
                    found.add(f"{prompt[:start]}{{}}{prompt[start + len(name) :]}")
            sets.append(found)
        common = set.intersection(*sets)
        if len(common) != 1:
            raise ValueError(f"{self.document['case']}: prompts do not share one template: {sets}")
        return common.pop()

    def prompt(self, n_ctx):
        """The placeholder prompt of a method with ``n_ctx`` learned tokens."""
        before, after = self.template.split("{}")
        words = before.split()
        for count in range(len(words) + 1):
            if len(self.encoder.token_ids([" ".join(words[:count])])[0]) == n_ctx:
                init = " ".join(word for word in words[:count] if word != "X")
                return Prompt(n_ctx, init or None, " ".join(words[count:]), after)
        raise ValueError(f"{self.document['case']}: {before!r} cannot be cut after {n_ctx} tokens")

    def same_fixed_tokens(self, layout, *, new=False):
        """Whether a prompt layout has the case's tokens around its learned ones."""
        start = "new." if new else ""
        ids, ends = self.tensors[f"{start}token_ids"], self.tensors[f"{start}eot_index"]
        for k, end in enumerate(ends.tolist()):
            wanted = torch.cat([ids[k, :1], ids[k, 1 + layout.n_ctx : end + 1]])
            row = slice(0, int(layout.ends[k]) + 1)
            got = layout.ids[k, row][layout.slots[k, row] < 0]
            if int(layout.ends[k]) != end or not torch.equal(got, wanted.to(got.dtype)):
                return False
        return True


def meta_net(case, names):
    """Golden and own names of a two-layer network called meta_net."""
    found = dict(names)
    for layer, index in (("linear1", 0), ("linear2", 2)):
        for part in ("weight", "bias"):
            found[f"meta_net.{layer}.{part}"] = f"meta_net.{index}.{part}"
    return found


def reduction(case, weight, width):
    """By which factor the layer with this (hidden, width) weight is narrower."""
    return width // case.learned(weight).shape[0]


def _flat(settings):
    for name, value in settings.items():
        yield plain(name), value
        if isinstance(value, dict):
            yield from _flat(value)


def _natural(name):
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in name.split(".")]
