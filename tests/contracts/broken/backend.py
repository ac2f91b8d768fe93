"""Backends that break what all kinds promise, seen through the suite of embedders."""

import socket
from collections.abc import Callable

from catching import caught_by, expose
from pydantic import ConfigDict, Field

from filterkit.contracts import Options
from filterkit.testing import EmbedderContract
from filterkit.testing.toys import ToyEmbedder, ToyPrefilter


@caught_by("test_it_is_a_backend_of_this_kind")
class AnotherKind(ToyPrefilter):
    pass


@caught_by("test_it_speaks_this_contract_version")
class OldContract(ToyEmbedder):
    api = 0


@caught_by("test_unknown_options_are_refused")
class LooseOptions(ToyEmbedder):
    class Options(Options):
        model_config = ConfigDict(extra="ignore")


@caught_by("test_options_are_documented")
class BareOptions(ToyEmbedder):
    class Options(Options):
        size: int = 3


@caught_by("test_options_can_be_printed")
class CallableOption(ToyEmbedder):
    class Options(Options):
        tokenise: Callable[[str], list[str]] = Field(str.split, description="cuts a text")


@caught_by("test_options_hold_no_secrets")
class KeyInOptions(ToyEmbedder):
    class Options(Options):
        api_key: str = Field("", description="the key")


@caught_by("test_the_constructor_stays_offline")
class AsksForNamesAtOnce(ToyEmbedder):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        socket.getaddrinfo("localhost", 80)


@caught_by("test_the_constructor_stays_offline")
class ConnectsAtOnce(ToyEmbedder):
    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        with socket.socket() as one:
            one.connect_ex(("127.0.0.1", 9))


@caught_by("test_close_can_be_called_twice")
class ClosesOnce(ToyEmbedder):
    closed = False

    def close(self) -> None:
        assert not self.closed
        self.closed = True


expose(globals(), EmbedderContract)
