"""Makes a simulated SenseCore: `python -m lazyllm_launch_sco.simulator FOLDER [--generation older|newer|acp]`."""

from __future__ import annotations

import argparse
import sys

from .world import TOOLS, World

parser = argparse.ArgumentParser(prog="python -m lazyllm_launch_sco.simulator")
parser.add_argument("folder", help="where its tools, jobs and settings are kept")
parser.add_argument("--generation", choices=sorted(TOOLS), default="older")
given = parser.parse_args()
bin_folder = World(given.folder).setup(given.generation)
sys.stdout.write(f'export PATH="{bin_folder}:$PATH" LAZYLLM_SCO_WORKSPACE=space LAZYLLM_SLURM_PART=part\n')
