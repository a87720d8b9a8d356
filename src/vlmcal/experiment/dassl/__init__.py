"""Runs of CoOp-family repositories (Dassl trainers) as runs of this store: trained prompts and test logs."""
