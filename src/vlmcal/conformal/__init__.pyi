from vlmcal.conformal.base import CONFORMAL as CONFORMAL
from vlmcal.conformal.base import ConformalPredictor as ConformalPredictor
from vlmcal.conformal.base import ConformalWarning as ConformalWarning

# Registered in this folder; written by scripts/write_faces.py.
from vlmcal.conformal.abstain import Abstain as Abstain
from vlmcal.conformal.aps import APS as APS
from vlmcal.conformal.class_conditional import ClassConditional as ClassConditional
from vlmcal.conformal.clustered import Clustered as Clustered
from vlmcal.conformal.cross_conformal import CrossConformal as CrossConformal
from vlmcal.conformal.group_conditional import GroupConditional as GroupConditional
from vlmcal.conformal.lac import LAC as LAC
from vlmcal.conformal.lata import LATA as LATA
from vlmcal.conformal.learn_then_test import LearnThenTest as LearnThenTest
from vlmcal.conformal.margin import Margin as Margin
from vlmcal.conformal.raps import RAPS as RAPS
from vlmcal.conformal.risk_control import RiskControl as RiskControl
from vlmcal.conformal.saps import SAPS as SAPS
from vlmcal.conformal.topk import TopK as TopK
from vlmcal.conformal.weighted import Weighted as Weighted
