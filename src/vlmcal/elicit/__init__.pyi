from vlmcal.elicit.base import ELICITORS as ELICITORS
from vlmcal.elicit.base import Elicitor as Elicitor
from vlmcal.elicit.judges.base import JUDGES as JUDGES
from vlmcal.elicit.judges.base import Judge as Judge
from vlmcal.elicit.judges.base import Verdict as Verdict
from vlmcal.elicit.judges.base import judge_answer as judge_answer
