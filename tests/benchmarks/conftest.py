import pytest

import minicnn as mc


@pytest.fixture(autouse=True)
def same_threads():
    """A benchmark sets the number of threads; the tests after it shall have their own."""
    before = mc.get_num_threads()
    yield
    mc.set_num_threads(before)
