"""Pages of a review, served to the people who decide. Needs the extra ``app``."""
