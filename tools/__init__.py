"""What the Makefile runs: the standard library alone, until the virtual environment is there."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("Python 3.11 or newer is needed: install it (https://www.python.org/downloads/) and try again.")
