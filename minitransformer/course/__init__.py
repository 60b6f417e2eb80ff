"""What holds the lessons together: helpers, plots and drawings, exercises, the claims ledger."""
