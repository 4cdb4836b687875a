"""`python -m oasjax` is the same as `oasjax`."""

import sys

from oasjax.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
