"""`python -m nas_service` is the command `nas`."""

from nas_service.cli import main

main()
