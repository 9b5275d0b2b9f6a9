"""``python -m baseload`` is the ``baseload`` command."""

from baseload.cli.main import run

run()
