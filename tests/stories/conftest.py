"""Make `sim` importable: the folder of the tests, and never the root with its `operator/`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))
