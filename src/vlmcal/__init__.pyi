from vlmcal import backbones as backbones
from vlmcal import calibrators as calibrators
from vlmcal import conformal as conformal
from vlmcal import data as data
from vlmcal import elicit as elicit
from vlmcal import export as export
from vlmcal import learners as learners
from vlmcal import metrics as metrics
from vlmcal import objectives as objectives
from vlmcal import posthoc as posthoc
from vlmcal import report as report
from vlmcal import types as types
from vlmcal.types.confidences import Confidences as Confidences
from vlmcal.types.dataset import Dataset as Dataset
from vlmcal.types.estimate import Estimate as Estimate
from vlmcal.types.features import Features as Features
from vlmcal.types.prediction_sets import PredictionSets as PredictionSets
from vlmcal.types.predictions import Predictions as Predictions
from vlmcal.backbones.loading import load_backbone as load_backbone
from vlmcal.io.predictions import load_predictions as load_predictions
from vlmcal.io.predictions import save_predictions as save_predictions
from vlmcal.metrics.evaluation import evaluate as evaluate
from vlmcal.posthoc.compare import compare as compare
from vlmcal.api import Classifier as Classifier
from vlmcal.api import fit as fit
from vlmcal.api import run as run

__version__: str
