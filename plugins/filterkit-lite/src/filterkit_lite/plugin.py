"""What this dist adds to filterkit."""

from __future__ import annotations

from collections.abc import Callable

from filterkit.api import hookimpl


@hookimpl
def register_trainers(register: Callable[..., None]) -> None:
    register("lite", "filterkit_lite.trainer:LiteTrainer", summary="static embeddings and n-grams, kernel ridge, CPU")


@hookimpl
def register_models(register: Callable[..., None]) -> None:
    register("lite", "filterkit_lite.model:LiteModel", summary="students trained by lite; thousands of texts a second")


@hookimpl
def register_embedders(register: Callable[..., None]) -> None:
    register("static", "filterkit_lite.embedder:StaticEmbedder", summary="mean of static word embeddings, 256 numbers")
