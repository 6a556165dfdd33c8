"""Where the figures kept in the repository are (tests/golden/README.md says what they hold)."""

import json
from pathlib import Path

_FOLDER = Path(__file__).resolve().parents[1] / "golden"
KEPT = _FOLDER / "tensorflow_tiny.npz"
SETTINGS = json.loads((_FOLDER / "tensorflow_tiny.json").read_text())
