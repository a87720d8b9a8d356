"""Tip-Adapter: a cache of the training images' features beside the zero-shot classifier."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, one_hot

from vlmcal.errors import SpecError
from vlmcal.learners.base import LEARNERS, ClassContext, Learner, Options, Side, Stream
from vlmcal.types.features import Features
from vlmcal.types.limits import Count, NotNegative


@LEARNERS.register("tip_adapter")
class TipAdapter(Learner):
    """z = s f.t + alpha exp(-beta (1 - f.K)) V, without training.

    K (N, D) are the normalised means over views of the raw training features, V (N, K) their one-hot
    labels. With ``search`` alpha and beta are chosen on the held-out split by accuracy, and never on test
    data.

    Source: Zhang et al., "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV
    2022, arXiv 2207.09519. The public code writes s = 100; here s is the backbone's own.
    """

    per_class: bool = True  # the cache holds the training classes' images
    similarity_scores: ClassVar[bool] = False
    trainable: ClassVar[bool] = False
    ignores: ClassVar[frozenset[str]] = frozenset({"objective"})
    default_train: ClassVar[Mapping[str, Any]] = {"views": 10}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tip-adapter-search": {
            "method": {"search": True},
            "train": default_train,
            "source": "Tip-Adapter's ImageNet configuration (alpha 1.17, beta 1 to start from)",
        }
    }

    class Config(Options):
        """Options of Tip-Adapter.

        Attributes:
            alpha: Weight of the cache.
            beta: Sharpness of the cache; larger looks at nearer neighbours only.
            search: Choose alpha and beta on the held-out split.
            search_alpha, search_beta: The search goes from 0.1 to below these.
            alpha_steps, beta_steps: Values tried of each.
        """

        alpha: NotNegative = 1.17
        beta: NotNegative = 1.0
        search: bool = False
        search_alpha: NotNegative = 3.0
        search_beta: NotNegative = 7.0
        alpha_steps: Count = 20
        beta_steps: Count = 200

    config: Config
    keys: Tensor
    values: Tensor
    alpha_beta: Tensor

    def __init__(self, classes: ClassContext, config: Config, generator: Stream = None) -> None:
        super().__init__(classes, config, generator)
        shape = (0, self.encoder.embed_dim)
        self._set_keys(torch.zeros(shape, dtype=self.parameter_dtype, device=self.encoder.device))
        self.register_buffer("values", torch.zeros(0, dtype=torch.long, device=self.encoder.device))
        chosen = torch.tensor([config.alpha, config.beta], dtype=self.parameter_dtype)
        self.register_buffer("alpha_beta", chosen.to(self.encoder.device))
        self._held_out: Features | None = None

    def _set_keys(self, keys: Tensor) -> None:
        self.register_buffer("keys", keys)

    def begin(self, train: Features, validation: Features | None) -> None:
        """Fill the cache, and search alpha and beta where asked for.

        Raises:
            SpecError: ``search`` without a held-out split.
        """
        views = torch.tensor(np.asarray(train.image_features))
        keys = normalize(views.to(self.parameter_dtype).mean(dim=1), dim=-1)
        self._set_keys(keys.to(self.encoder.device))
        self.values = torch.from_numpy(train.labels).to(self.encoder.device)
        if self.config.search:
            if validation is None or len(validation) == 0:
                raise SpecError(
                    f"{self.name}: search needs held-out images to choose alpha and beta on; keep some "
                    "of the training images out, or set search: false"
                )
            self._held_out = validation
            if not self.trainable:
                self._search(validation)

    def on_fit_end(self) -> None:
        """Search alpha and beta for the trained keys, where asked for."""
        if self.trainable and self._held_out is not None:
            self._search(self._held_out)

    @torch.no_grad()
    def _search(self, held_out: Features) -> None:
        image = torch.tensor(np.asarray(held_out.image_features[:, 0]))
        image = normalize(image.to(self.encoder.device, self.parameter_dtype), dim=-1)
        labels = torch.from_numpy(held_out.labels).to(image.device)
        plain = super().scores(image, self.classifier())
        config, best = self.config, -1
        for beta in _tried(config.search_beta, config.beta_steps):
            cache = self.cache_logits(image, beta)
            for alpha in _tried(config.search_alpha, config.alpha_steps):
                right = int(((plain + alpha * cache).argmax(dim=1) == labels).sum())
                if right > best:
                    best = right
                    self.alpha_beta.copy_(torch.tensor([alpha, beta]))

    def cache_logits(self, image: Tensor, beta: float | Tensor) -> Tensor:
        """exp(-beta (1 - f.K)) V, (B, K)."""
        affinity = torch.exp(-beta * (1 - image @ self.keys.T.to(image.dtype)))
        votes = one_hot(self.values, len(self.classes.class_names)).to(image.dtype)
        logits: Tensor = affinity @ votes
        return logits

    def scores(self, image: Tensor, text: Tensor) -> Tensor:
        """Zero-shot logits plus the cache's, (B, K)."""
        alpha, beta = self.alpha_beta
        plain: Tensor = super().scores(image, text)
        adapted: Tensor = plain + alpha * self.cache_logits(image, beta)
        return adapted

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        # The cache is as long as the training set, which an empty learner cannot know.
        keys, values = state_dict[f"{prefix}keys"], state_dict[f"{prefix}values"]
        wanted, k = (values.numel(), self.encoder.embed_dim), len(self.classes.class_names)
        if values.ndim != 1 or keys.shape != wanted or ((values < 0) | (values >= k)).any():
            raise ValueError(f"keys, values: expected keys of shape {wanted} and classes below {k}")
        if keys.shape != self.keys.shape:
            self._set_keys(torch.empty_like(keys, device=self.encoder.device))
            self.values = torch.empty_like(values, device=self.encoder.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)


@LEARNERS.register("tip_adapter_f")
class TipAdapterF(TipAdapter):
    """Tip-Adapter whose keys are trained (AdamW), everything else as there.

    Keys are trained with the given alpha and beta; a search comes after training. The public code picks
    the best epoch on the test set; here the last epoch is used.

    Source: Zhang et al., ECCV 2022, arXiv 2207.09519; recipe of the public code (AdamW 1e-3, eps 1e-4, batch
    256, 20 epochs, cosine per step).
    """

    trainable: ClassVar[bool] = True
    tunes: frozenset[Side] = frozenset({"head"})
    ignores: ClassVar[frozenset[str]] = frozenset()
    default_train: ClassVar[Mapping[str, Any]] = {
        "views": 10,
        "epochs": 20,
        "batch_size": 256,
        "optimiser": "adamw",
        "lr": 1e-3,
        "eps": 1e-4,
        "weight_decay": 1e-2,
        "warmup_epochs": 0,
    }

    def _set_keys(self, keys: Tensor) -> None:
        self.keys = nn.Parameter(keys.clone())


def _tried(limit: float, steps: int) -> list[float]:
    return [0.1 + (limit - 0.1) * i / steps for i in range(steps)]
