"""For filterkit: the postfilter `tiers` (gatekeepers, caps, tiers) and the prefilter `rules` (words, lengths …)."""
