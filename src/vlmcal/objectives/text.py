"""Text features of one step in one shape, whatever the learner's prompts depend on."""

from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.types.outputs import Outputs


def text_groups(outputs: Outputs, by: str) -> Tensor:
    """Tuned text features as (G, K, D): G complete sets of K class features.

    Shared prompts (K, D) are one set; prompts that depend on the image (B, K, D) are B sets; P prompts
    per class (K, P, D) are P sets. Text objectives take the mean of their loss over the sets. Where
    B = K = P leaves the meaning of a three-dimensional tensor open, it is read as (B, K, D).

    Raises:
        SpecError: The shape fits neither.
    """
    text = outputs.require("text_features", by=by)
    if text.ndim == 2:
        return text[None]
    classes = _class_count(outputs, text)
    batch = len(text if outputs.logits is None else outputs.logits)
    if text.ndim == 3 and text.shape[1] == classes and text.shape[0] == batch:
        return text
    if text.ndim == 3 and text.shape[0] == classes:
        return text.transpose(0, 1)
    raise SpecError(
        f'objective "{by}": text_features of shape {tuple(text.shape)} are neither (K, D), (B, K, D) '
        f"nor (K, P, D) with K = {classes} classes"
    )


def tuned_and_frozen(outputs: Outputs, by: str) -> tuple[Tensor, Tensor]:
    """Tuned text features (G, K, D) and the frozen ones (K, D), which carry no gradient.

    Raises:
        SpecError: They are not over the same classes and dimensions.
    """
    tuned = text_groups(outputs, by)
    frozen = outputs.require("frozen_text_features", by=by).detach()
    if tuned.shape[1:] != frozen.shape:
        raise SpecError(
            f'objective "{by}": tuned text features {tuple(tuned.shape[1:])} and frozen ones '
            f"{tuple(frozen.shape)} must have the same shape (K, D)"
        )
    return tuned, frozen


def captions(outputs: Outputs, by: str) -> Tensor:
    """Text feature of each sample's caption, (B, D): its own, or the prompt of its class.

    Raises:
        SpecError: Text features depend on the image or on several prompts.
    """
    if outputs.caption_features is not None:
        return outputs.caption_features
    text = text_groups(outputs, by)
    if text.shape[0] != 1:
        raise SpecError(
            f'objective "{by}" needs one text feature per class (K, D); this learner has '
            f"{text.shape[0]} sets of them"
        )
    return text[0][outputs.require("labels", by=by)]


def _class_count(outputs: Outputs, text: Tensor) -> int:
    if outputs.logits is not None:
        return outputs.logits.shape[1]
    if outputs.frozen_text_features is not None:
        return outputs.frozen_text_features.shape[0]
    return len(outputs.class_names) or text.shape[0]
