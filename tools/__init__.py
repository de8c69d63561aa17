"""What the Makefile runs: the standard library alone, until the virtual environment is there."""
