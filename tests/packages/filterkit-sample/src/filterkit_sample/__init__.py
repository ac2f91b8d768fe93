"""A third party's oracle."""
