"""``python -m vlmcal``."""

from vlmcal.cli import main

main()
