from vlmcal.test_time.cots import cots as cots
from vlmcal.test_time.dmn import DMN as DMN
from vlmcal.test_time.prompt_tuning import Steps as Steps
from vlmcal.test_time.prompt_tuning import tune as tune
from vlmcal.test_time.prompt_tuning import tune_in_batches as tune_in_batches
from vlmcal.test_time.reta import ReTA as ReTA
from vlmcal.test_time.reta import text_sets as text_sets
from vlmcal.test_time.tda import TDA as TDA
