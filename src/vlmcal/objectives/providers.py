"""Where each input of an objective comes from, for the error that says it is missing."""

from collections.abc import Mapping

_PROVIDERS: Mapping[str, str] = {
    "labels": "training data with labels provides it",
    "raw_image_features": "a learner that exposes features before normalisation provides it",
    "raw_text_features": "a learner that exposes features before normalisation provides it",
    "image_features": "a learner that exposes its image features provides it",
    "text_features": "a learner with a text side (such as coop) provides it",
    "frozen_text_features": "zero-shot templates provide it",
    "frozen_template_features": "zero-shot templates provide it",
    "frozen_image_features": "the features of the frozen encoder on the same views provide it",
    "zero_shot_logits": "zero-shot templates and frozen image features provide it",
    "second_image_features": "a learner that embeds a second view, with views: 2 or more, provides it",
    "frozen_second_image_features": "a feature bank with views: 2 or more provides it",
    "outlier_text_features": (
        "an outlier vocabulary and a learner whose context is shared by all classes provide it"
    ),
    "frozen_outlier_text_features": "an outlier vocabulary provides it",
    "prompt_text_features": "a learner with several contexts (proda) provides it",
    "sample_logits": "a learner that draws prompts (bayes_coop, bpl) provides it",
    "divergence": "a learner that draws prompts (bayes_coop, bpl) provides it",
    "prototypes": "a learner with class prototypes (clap, linear_probe) provides it",
    "prototype_targets": "a learner with class prototypes (clap) provides it",
    "class_multipliers": "the learner clap provides it",
    "head_logits": "a learner with a linear head (dept) provides it",
    "head_labels": "a learner with a linear head (dept) provides it",
    "logit_scale": "a dual encoder provides it",
    "parameters": "a learner with trainable tensors provides it",
    "initial_parameters": "a learner with trainable tensors provides it",
    "sample_index": "training data with row numbers provides it",
    "correctness": "the training loop's count of right answers provides it",
    "validation_logits": "a validation split provides it (hold some training shots out)",
    "validation_labels": "a validation split provides it (hold some training shots out)",
}


def how_to_provide(name: str) -> str:
    """What fills the ``Outputs`` field ``name``, as a phrase.

    Example:
        >>> how_to_provide("frozen_text_features")
        'zero-shot templates provide it'
    """
    return _PROVIDERS.get(name, "choose a learner that lists it under provides")
