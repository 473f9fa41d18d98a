"""`python -m tests.robustness.explorer`."""

import sys

from tests.robustness.explorer.run import main

if __name__ == "__main__":
    sys.exit(main())
