"""What answers questions: runs, the comparison, searches over rates, sweeps over settings."""
