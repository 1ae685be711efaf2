"""`python -m nas_service.worker.training_process` is the process that makes children."""

from nas_service.worker.training_process.fork_server import main

main()
