"""`python -m swdb` is `swdb`."""

from swdb.cli import app

app(prog_name="swdb")
