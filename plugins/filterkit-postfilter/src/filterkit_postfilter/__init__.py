"""Postfilter `tiers` for filterkit: gatekeepers, caps and tiers."""
