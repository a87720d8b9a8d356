from vlmcal.data.base import DATASETS as DATASETS
from vlmcal.data.base import load_dataset as load_dataset
