"""The tables share the makers of views with the other tiers."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
