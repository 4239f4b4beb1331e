"""Make the models importable by their own names: this folder, and never the root with its `operator/`."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
