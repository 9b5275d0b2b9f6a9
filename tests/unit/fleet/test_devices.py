"""Device names: every spelling that people and nvidia-smi use leads to one board."""

import pytest

from baseload.base.errors import UnknownNameError
from baseload.fleet.devices import find_device


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("NVIDIA H100 80GB HBM3", "H100-SXM-80GB"),
        ("NVIDIA A100-SXM4-80GB", "A100-SXM4-80GB"),
        ("NVIDIA GeForce RTX 4090", "RTX-4090-24GB"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX-PRO-6000-96GB"),
        ("NVIDIA L4", "L4-24GB"),
    ],
)
def test_names_as_nvidia_smi_prints_them(spelling: str, name: str) -> None:
    """A calibrated run names its device as the driver does; that used to be unknown."""
    assert find_device(spelling).name == name


def test_an_unknown_board_lists_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="H100"):
        find_device("H100O")
