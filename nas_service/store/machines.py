"""The machines on which workers run, from the names of the workers."""


def machine_of(worker: str) -> str:
    """What identifies a worker's machine: its boot, which all containers share, else its host.

    Args:
        worker: name of the worker, as `process_id.worker_name` makes it.

    Returns:
        The same text for all workers of one machine.
    """
    host, boot = (worker.split("/") + [""] * 2)[:2]
    return host if not boot or boot.startswith("unknown") else boot
