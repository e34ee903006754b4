"""What several tests of the whole program share."""

from collections.abc import Iterator

import pytest

from tests.acceptance.dying import Runs


@pytest.fixture(scope="session")
def runs() -> Iterator[Runs]:
    """Commands that die at a point; their imports are made once."""
    with Runs() as opened:
        yield opened
