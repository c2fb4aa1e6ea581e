"""What authors of extensions import to test them: contract suites, run by pytest.

A suite is a class of tests. Subclass it in a test file of yours, give it the one fixture that its
docstring names, and your extension is held to what the built-in ones are held to.
"""

import pytest

pytest.register_assert_rewrite("navarch.testing.provider_contract")

from navarch.testing.provider_contract import ProviderContract  # noqa: E402  # after the hook

__all__ = ["ProviderContract"]
