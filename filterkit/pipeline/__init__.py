"""The steps from articles to verdicts, one module per step, in the order of the data."""
