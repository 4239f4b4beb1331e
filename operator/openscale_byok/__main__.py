"""`python -m openscale_byok` is `openscale-byok`."""

from openscale_byok.shell.cli import main

main(prog_name="openscale-byok")
