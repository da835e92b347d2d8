"""The command ``pacsgrid`` as ``python -m pacsgrid``."""

from __future__ import annotations

from pacsgrid.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
