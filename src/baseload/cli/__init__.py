"""Floor 5: the command line. One file a command; the only room that plugs the others together."""

import os

# The matrices here are small: threads would wait for each other longer than they work, the more so
# beside parallel runs. Read when numpy is first imported, so it must be said before.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
