"""Compiles the kernels of a decision into NUMBA_CACHE_DIR, so that an image or a machine is ready at
its first request. Takes about a minute, once.
"""

from baseload.cli.gateway_file import load_builtin
from baseload.cli.serve import fleet_of
from baseload.gateway.warm import warm

warm(fleet_of(load_builtin()))
