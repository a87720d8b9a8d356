from vlmcal.elicit.judges.base import JUDGES as JUDGES
from vlmcal.elicit.judges.base import Judge as Judge
from vlmcal.elicit.judges.base import Verdict as Verdict
from vlmcal.elicit.judges.base import judge_answer as judge_answer

# Registered in this folder; written by scripts/write_faces.py.
from vlmcal.elicit.judges.contained import Contained as Contained
from vlmcal.elicit.judges.exact import Exact as Exact
from vlmcal.elicit.judges.normalised import Normalised as Normalised
from vlmcal.elicit.judges.token_f1 import TokenF1 as TokenF1
