"""`python -m tinyae` is `tinyae`."""

import sys

from tinyae.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
