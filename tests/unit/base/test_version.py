"""One version, wherever it is asked for."""

from importlib.metadata import version

import baseload
from baseload.base.version import VERSION


def test_the_package_says_the_same_version_everywhere():
    assert baseload.__version__ == VERSION == version("baseload")
