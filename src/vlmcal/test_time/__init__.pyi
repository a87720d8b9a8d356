from vlmcal.test_time.base import ADAPTATIONS as ADAPTATIONS
from vlmcal.test_time.base import Adaptation as Adaptation
from vlmcal.test_time.base import Adapted as Adapted
from vlmcal.test_time.cots import cots as cots
from vlmcal.test_time.prompt_tuning import Steps as Steps
from vlmcal.test_time.prompt_tuning import tune as tune
from vlmcal.test_time.reta import text_sets as text_sets

# Registered in this folder; written by scripts/write_faces.py.
from vlmcal.test_time.cots import CoTS as CoTS
from vlmcal.test_time.cots import ECoTS as ECoTS
from vlmcal.test_time.dmn import DMN as DMN
from vlmcal.test_time.reta import ReTA as ReTA
from vlmcal.test_time.tda import TDA as TDA
from vlmcal.test_time.tpt import ATPT as ATPT
from vlmcal.test_time.tpt import CTPT as CTPT
from vlmcal.test_time.tpt import OTPT as OTPT
from vlmcal.test_time.tpt import TPT as TPT
