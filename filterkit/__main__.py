"""`python -m filterkit` is `filterkit`: what launchers of several processes start."""

from __future__ import annotations

from filterkit.cli.main import main

if __name__ == "__main__":
    main()
