import sys
from pathlib import Path

# studies are scripts, not a package: they import their neighbours by name
sys.path.insert(0, str(Path(__file__).parents[2] / "experiments"))
