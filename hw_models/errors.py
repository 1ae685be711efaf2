"""Errors of the cost model: each names the thing, the value and what would be right."""


class HardwareError(ValueError):
    """Anything a caller got wrong; nothing was computed."""


class WorkloadError(HardwareError):
    """A layer or a workload that no network could have."""


class ProfileError(HardwareError):
    """A chip profile that is unknown, incomplete or out of range."""


class ReportError(HardwareError):
    """A stored report that is damaged."""


class CalibrationError(HardwareError):
    """Measurements that a chip cannot be fitted to."""


class FileError(HardwareError):
    """A file that cannot be read, or is not of the kind that it should be."""
