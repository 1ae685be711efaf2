"""`python -m nas_service` is the command `nas`."""

from nas_service.cli.main import main

main(prog_name="nas")
