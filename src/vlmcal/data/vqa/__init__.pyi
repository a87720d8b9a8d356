from vlmcal.data.vqa.base import VQA_LAYOUTS as VQA_LAYOUTS
from vlmcal.data.vqa.base import load_questions as load_questions
