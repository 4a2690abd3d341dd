"""Models of this machine: found, loaded, asked for texts and scores.

OpenMP reads its settings when torch is first imported, and everything here that imports torch is below this package.
"""

from engine.models.machine_profile import prepare_environment

prepare_environment()
