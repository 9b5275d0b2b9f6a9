"""Floor 3, public: what people who write policies test them with.

``check_policy`` holds a policy against the laws; ``fleets`` are a few ready fleets, ``fakes``
stand-ins, ``strategies`` hypothesis strategies (hypothesis has to be installed for those only).
"""

from baseload.testing.check import check_policy
from baseload.testing.fakes import FakeFleet, FirstFree, request
from baseload.testing.fleets import Fleet, replica_type
from baseload.testing.report import LAWS, Finding, PolicyReport

__all__ = [
    "LAWS",
    "FakeFleet",
    "Finding",
    "FirstFree",
    "Fleet",
    "PolicyReport",
    "check_policy",
    "replica_type",
    "request",
]
