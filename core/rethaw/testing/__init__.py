"""The conformance kit: what degradations and backbones must keep, for a plugin's own test suite.

    from rethaw.testing import backbone_tests, degradation_tests

    TestTint = degradation_tests("tint.tint", {"colour": [1.0, 0.0, 0.0]})
    TestNet = backbone_tests("tint.net")

gives pytest one test for each check; of degradations over several sizes and dtypes, and on a GPU where there is one.
"""

from rethaw.testing.backbones import BACKBONE_CHECKS, backbone_tests, check_backbone
from rethaw.testing.kit import CHECKS, check_degradation, degradation_tests, run_check

__all__ = [
    "BACKBONE_CHECKS",
    "CHECKS",
    "backbone_tests",
    "check_backbone",
    "check_degradation",
    "degradation_tests",
    "run_check",
]
