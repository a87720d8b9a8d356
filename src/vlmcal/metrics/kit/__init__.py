"""What metrics are built from: bins, sums, bootstrap, ranking."""
