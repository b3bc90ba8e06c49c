"""`python -m imagegen`: the command line."""

import sys

from imagegen.cli import main

if __name__ == "__main__":  # the render process imports this module once more
    sys.exit(main())
