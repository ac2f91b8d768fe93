"""Oracles, rubrics and people held against each other on the same articles."""
