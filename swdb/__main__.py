"""`python -m swdb` is `swdb`."""

from swdb.cli.app import app

if __name__ == "__main__":  # worker processes import this module, too
    app(prog_name="swdb")
