"""What silicon costs: memory, area, latency and energy of a spiking network on crossbars."""

from hw_models.errors import HardwareError, ProfileError, ReportError, WorkloadError
from hw_models.profile import Profile, known_profiles, load_profile
from hw_models.report import Breakdown, HardwareReport
from hw_models.workload import Layer, Workload

__all__ = [
    "Breakdown",
    "HardwareError",
    "HardwareReport",
    "Layer",
    "Profile",
    "ProfileError",
    "ReportError",
    "Workload",
    "WorkloadError",
    "known_profiles",
    "load_profile",
]
