"""Write the gallery, the tables and the README's list of names: `make docs`."""

from __future__ import annotations

import sys
from pathlib import Path

from generator.pages import ROOT, write

if __name__ == "__main__":
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT)
