"""Runs `python -m nas_service ...` warm, where a script starts the interpreter; see `warm`."""

import os
import sys

import warm

warm.STARTS.address = os.environ[warm.ADDRESS]
sys.exit(warm.Popen([sys.executable, *sys.argv[1:]]).wait())
