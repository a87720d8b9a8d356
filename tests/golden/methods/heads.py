"""Adapters, caches and residuals on the outputs of frozen encoders."""

import numpy as np
import torch

from methods import Prepared
from methods.case import reduction
from vlmcal.learners.clip_adapter import CLIPAdapter
from vlmcal.learners.task_res import TaskRes
from vlmcal.learners.tip_adapter import TipAdapter, TipAdapterF
from vlmcal.types.features import Features

FROZEN = ("template.token_ids", "teacher.token_ids", "token_ids")


def clip_adapter(case):
    learner = CLIPAdapter(
        case.classes(*FROZEN),
        CLIPAdapter.Config(
            ratio=float(case.get("ratio", default=0.2)),
            reduction=reduction(case, "adapter.fc.0.weight", case.encoder.embed_dim),
        ),
    )

    def forward(learner, batch):
        return {
            "out.adapter_output": learner.adapter(batch.image_features),
            "out.image_features": batch.image_features,
            "out.text_features": learner.classes.raw_text_features,
            "new.text_features": None,
        }

    names = {f"adapter.fc.{i}.weight": f"adapter.{i}.weight" for i in (0, 2)}
    return Prepared(learner, names, "ce", forward=forward, skip=frozenset({"new.text_features"}))


def task_res(case):
    learner = TaskRes(
        case.classes(*FROZEN),
        TaskRes.Config(alpha=float(case.get("alpha", "residual_scale", "scale", "a", default=0.5))),
    )
    name = "text_feature_residuals"
    return Prepared(
        learner,
        {name: name},
        "ce",
        new_classes=False,
        forward=lambda learner, batch: {"out.base_text_features": learner.base},
    )


def tip_adapter(case):
    # The reference writes the factor 100 into its code, whatever the model says.
    case.encoder = case.encoder.with_logit_scale(100.0)
    views = case.tensors["support_images"]
    with torch.no_grad():
        features = torch.stack([case.encoder.encode_pixels(v.to(views)) for v in views], dim=1)
    labels = case.tensors["support_labels"].numpy()
    support = Features(
        image_features=features.numpy(),
        labels=labels,
        ids=np.arange(len(labels)).astype(str),
        views=np.zeros((*features.shape[:2], 5)),
    )
    settings = {
        "alpha": float(case.get("alpha", "init_alpha", default=1.0)),
        "beta": float(case.get("beta", "init_beta", default=1.0)),
    }
    classes = case.classes(*FROZEN)
    learner = TipAdapterF(classes, TipAdapterF.Config(**settings))
    free = TipAdapter(classes, TipAdapter.Config(**settings))
    for each in (learner, free):
        each.begin(support, None)
    trained = "learned.keys" in case.tensors

    def forward(learner, batch):
        plain = super(TipAdapter, free).scores
        image = torch.nn.functional.normalize(batch.image_features, dim=-1)
        return {
            "out.logits": free.predict([batch]),
            "out.cache_keys": free.keys,
            "out.cache_values": torch.nn.functional.one_hot(
                free.values, case.document["n_classes"]
            ),
            "out.logits_zero_shot": plain(image, free.classifier()),
            "F.logits": learner.predict([batch]),
            "out.text_features": classes.raw_text_features,
        }

    skip = frozenset({"out.text_features"} if len(classes.raw_template_features) > 1 else ())
    names = {"keys": "keys"} if trained else {}
    return Prepared(learner, names, "ce", new_classes=False, forward=forward, skip=skip)


ADAPTERS = {
    "clipadapter": clip_adapter,
    "taskres": task_res,
    "tipadapter": tip_adapter,
}
