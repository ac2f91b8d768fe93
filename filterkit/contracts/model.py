"""Model: reads an artifact and scores with it. Embedder: texts to vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, ClassVar

from filterkit.contracts.base import Backend, O
from filterkit.records import F32, Prediction


class Scorer(ABC):
    """A loaded student. Used by one thread; built inside the worker that uses it, never pickled."""

    max_batch: int = 64
    """Rows that `predict` likes at once; the core never sends more."""
    share_key: str | None = None
    """Scorers with equal keys share one copy of base weights and one encoding of the texts."""

    def encode(self, texts: Sequence[str]) -> Any:
        """Tokenise; may run ahead in another thread. The default hands the texts on."""
        return list(texts)

    @abstractmethod
    def predict(self, encoded: Any) -> Prediction:
        """Scores of n >= 0 encoded texts, in order. A row does not depend on its batch mates."""

    def verdicts(self, articles: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]] | None:
        """What a remote student answers for whole articles, as `filterkit.inference` writes verdicts, in order.

        None: it gives scores only.
        """
        return None

    def close(self) -> None:
        """Free memory and connections. May be called twice."""
        return


class Model(Backend[O]):
    """One artifact format (or, with `remote`, one protocol whose `ref` is a URL)."""

    remote: ClassVar[bool] = False

    @abstractmethod
    def load(
        self,
        ref: str,
        *,
        device: str = "auto",
        threads: int | None = None,
        shared: MutableMapping[str, Any] | None = None,
    ) -> Scorer:
        """A scorer of the artifact in folder `ref`.

        `threads` bounds the CPU threads (None: the library's default); `shared` is a dict in which models of
        one process may keep what they have in common.
        """

    def hashes(self, ref: str) -> dict[str, str] | None:
        """Relative path -> hex SHA-256 of what is stored at a remote `ref`, from its bytes; None: cannot be asked."""
        return None

    def stored(self, ref: str, name: str) -> bytes | None:
        """The bytes of one small file (filterkit.json, deployment.json) at a remote `ref`; None: it is not there, or
        cannot be asked."""
        return None

    def student_hash(self, ref: str) -> str | None:
        """Hash of the student that a remote `ref` says it scores with; None: it does not say."""
        return None

    def usd_per_hour(self, ref: str) -> float | None:
        """US dollars an hour of what scores at a remote `ref`, asked of its provider; None: unknown."""
        return None


class Embedder(Backend[O]):
    """Texts to vectors, for near-duplicates, selection and drift. The core caches by content hash."""

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Changes whenever the same text would get another vector."""

    @abstractmethod
    def embed(self, texts: Sequence[str]) -> F32:
        """[n, k] float32, rows of unit length, n >= 0; a row does not depend on the others."""
