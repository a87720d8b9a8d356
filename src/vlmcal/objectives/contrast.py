"""In-batch image-caption scores, shared by the contrastive objectives."""

from torch import Tensor

from vlmcal.errors import SpecError
from vlmcal.objectives.text import text_groups
from vlmcal.types.outputs import Outputs


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
