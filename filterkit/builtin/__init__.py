"""Embedded defaults, registered through the same hooks as anybody's plugin."""
