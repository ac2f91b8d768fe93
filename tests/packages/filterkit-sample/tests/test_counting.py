import pytest
from filterkit_sample.oracle import CountingOracle

from filterkit.testing import OracleContract


class TestCounting(OracleContract):
    @pytest.fixture
    def backend(self):
        return CountingOracle
