"""What all tests share: properties have no deadline for one example, because the first one of a
process may compile or load a kernel.
"""

from hypothesis import settings

settings.register_profile("baseload", deadline=None)
settings.load_profile("baseload")
