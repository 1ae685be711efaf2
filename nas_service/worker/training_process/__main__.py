"""`python -m nas_service.worker.training_process` is the fork server."""

from nas_service.worker.training_process.fork_server import main

main()
