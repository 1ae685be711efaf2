"""`python -m nas_service.child` is the process that makes children."""

from nas_service.child.server import main

main()
