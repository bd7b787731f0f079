"""The conformance kit: what degradations, backbones and guides must keep, for a plugin's own test suite.

    from rethaw.testing import backbone_tests, degradation_tests, guide_tests

    TestTint = degradation_tests("tint.tint", {"colour": [1.0, 0.0, 0.0]})
    TestNet = backbone_tests("tint.net")
    TestColour = guide_tests("tint.colour")

gives pytest one test for each check; of degradations over several sizes and dtypes, and on a GPU where there is one.
"""

from rethaw.testing.backbones import BACKBONE_CHECKS, backbone_tests, check_backbone
from rethaw.testing.guides import GUIDE_CHECKS, check_guide, guide_tests
from rethaw.testing.kit import CHECKS, check_degradation, degradation_tests, run_check

__all__ = [
    "BACKBONE_CHECKS",
    "CHECKS",
    "GUIDE_CHECKS",
    "backbone_tests",
    "check_backbone",
    "check_degradation",
    "check_guide",
    "degradation_tests",
    "guide_tests",
    "run_check",
]
