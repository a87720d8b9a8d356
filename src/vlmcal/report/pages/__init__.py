"""One module for each page: what a report of runs, rows, answers or sets shows."""
