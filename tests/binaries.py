"""Where tests find programs that came with the environment."""

import shutil
import sys
from pathlib import Path


def beside_python(name: str) -> str:
    """A program of this virtual environment, or one on PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    assert found, f"{name} is not installed; run make setup"
    return found
