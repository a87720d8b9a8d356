from vlmcal.review.case import Case as Case
from vlmcal.review.database import Review as Review
from vlmcal.review.evidence import Evidence as Evidence
from vlmcal.review.log import Event as Event
from vlmcal.review.policy import Policy as Policy
from vlmcal.review.sources import Columns as Columns
from vlmcal.review.sources import read_source as read_source
from vlmcal.review.triage import Source as Source
