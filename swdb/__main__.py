"""`swdb`, and `python -m swdb`: the command line, and Ctrl-C while it is still being loaded."""

import sys

INTERRUPTED = 130  # as `cli/failures.py` has it, which is not loaded yet


def main() -> None:
    """Load the command line and run it."""
    try:
        from swdb.cli.app import app
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    app(prog_name="swdb")


if __name__ == "__main__":  # worker processes import this module, too
    main()
