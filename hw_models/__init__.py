"""What silicon costs: memory, area, latency and energy of a spiking network on crossbars."""

from hw_models.errors import (
    CalibrationError,
    FileError,
    HardwareError,
    ProfileError,
    ReportError,
    WorkloadError,
)
from hw_models.layer import Layer
from hw_models.layer_index import LayerIndex
from hw_models.layer_table import LayerTable
from hw_models.metrics import HARDWARE_METRICS, HardwareMetric
from hw_models.profile import Profile
from hw_models.profile_file import known_profiles, load_profile
from hw_models.recorded import RecordedInputs
from hw_models.report import BatchReport, Breakdown, HardwareReport
from hw_models.workload import Workload

__all__ = [
    "HARDWARE_METRICS",
    "BatchReport",
    "Breakdown",
    "CalibrationError",
    "FileError",
    "HardwareError",
    "HardwareMetric",
    "HardwareReport",
    "Layer",
    "LayerIndex",
    "LayerTable",
    "Profile",
    "ProfileError",
    "RecordedInputs",
    "ReportError",
    "Workload",
    "WorkloadError",
    "known_profiles",
    "load_profile",
]
