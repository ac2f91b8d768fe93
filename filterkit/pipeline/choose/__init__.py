"""Choosing what to label: N articles of as many as there are, in one pass and in memory for no more than what is kept.

Every strategy ranks the articles that have no label yet; `choose` takes the best of each part of a mix, each text
once. Equal texts, seeds and labels give the same choice, in whatever order the files hold them.
"""
