from vlmcal.posthoc.compare import Comparison as Comparison
from vlmcal.posthoc.compare import compare as compare
from vlmcal.posthoc.cross_fit import cross_fit as cross_fit
from vlmcal.posthoc.decisions import Decisions as Decisions
from vlmcal.posthoc.decisions import decide as decide
from vlmcal.posthoc.label_sets import SetComparison as SetComparison
from vlmcal.posthoc.label_sets import conformal_sets as conformal_sets
from vlmcal.posthoc.refinement_stopping import choose_by_refinement as choose_by_refinement
