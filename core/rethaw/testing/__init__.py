"""The conformance kit: what every degradation must keep, for a plugin's own test suite.

    from rethaw.testing import degradation_tests

    TestTint = degradation_tests("tint.tint", {"colour": [1.0, 0.0, 0.0]})

gives pytest one test for each check, over several sizes and dtypes, and on a GPU too where there is one.
"""

from rethaw.testing.kit import CHECKS, check_degradation, degradation_tests, run_check

__all__ = ["CHECKS", "check_degradation", "degradation_tests", "run_check"]
