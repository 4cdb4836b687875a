import jaxtyping
import pytest


@pytest.fixture
def unchecked_types():
    """As for users: no types checked at run time, so that our own errors show."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)
