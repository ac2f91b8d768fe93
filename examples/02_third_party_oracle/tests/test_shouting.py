import pytest
from filterkit_shouting.oracle import ShoutingOracle

from filterkit.testing import OracleContract


class TestShouting(OracleContract):
    @pytest.fixture
    def backend(self):
        return ShoutingOracle
