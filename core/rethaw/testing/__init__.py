"""The conformance kit: what every degradation must keep, for a plugin's own test suite.

    from rethaw.testing import degradation_tests

    TestTint = degradation_tests("tint.tint", {"colour": [1.0, 0.0, 0.0]})

gives pytest one test for each check of `rethaw.testing.checks`, at several sizes and dtypes.
"""

from rethaw.testing.kit import check_degradation, degradation_tests

__all__ = ["check_degradation", "degradation_tests"]
