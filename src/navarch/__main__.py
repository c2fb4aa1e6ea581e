"""``python -m navarch`` is the command ``navarch``."""

import sys

from navarch.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
