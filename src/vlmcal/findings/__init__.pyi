from vlmcal.findings.base import FINDING_METHODS as FINDING_METHODS
from vlmcal.findings.compare import FindingOutcome as FindingOutcome
from vlmcal.findings.compare import compare_findings as compare_findings
from vlmcal.findings.zero_shot import score_findings as score_findings

# Registered in this folder; written by scripts/write_faces.py.
from vlmcal.findings.false_negative_rate import FalseNegativeRate as FalseNegativeRate
from vlmcal.findings.false_negative_rate import FalseNegativeRatePerFinding as FalseNegativeRatePerFinding
from vlmcal.findings.per_label import PerLabel as PerLabel
