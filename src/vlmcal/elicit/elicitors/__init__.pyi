# Registered in this folder; written by scripts/write_faces.py.
from vlmcal.elicit.elicitors.consistency import Consistency as Consistency
from vlmcal.elicit.elicitors.expert import Expert as Expert
from vlmcal.elicit.elicitors.extract import Extract as Extract
from vlmcal.elicit.elicitors.hint import Hint as Hint
from vlmcal.elicit.elicitors.image_ablation import ImageAblation as ImageAblation
from vlmcal.elicit.elicitors.option_logits import OptionLogits as OptionLogits
from vlmcal.elicit.elicitors.p_true import PTrue as PTrue
from vlmcal.elicit.elicitors.pair_rank import PairRank as PairRank
from vlmcal.elicit.elicitors.paraphrase import Paraphrase as Paraphrase
from vlmcal.elicit.elicitors.perturbation import Perturbation as Perturbation
from vlmcal.elicit.elicitors.self_probe import SelfProbe as SelfProbe
from vlmcal.elicit.elicitors.semantic_entropy import SemanticEntropy as SemanticEntropy
from vlmcal.elicit.elicitors.sequence_likelihood import SequenceLikelihood as SequenceLikelihood
from vlmcal.elicit.elicitors.top_k import TopK as TopK
from vlmcal.elicit.elicitors.vase import Vase as Vase
from vlmcal.elicit.elicitors.verbalized import Verbalized as Verbalized
