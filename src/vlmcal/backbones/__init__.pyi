from vlmcal.backbones.base import DualEncoder as DualEncoder
from vlmcal.backbones.base import Preprocess as Preprocess
from vlmcal.backbones.loading import load_backbone as load_backbone
