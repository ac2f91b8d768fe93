"""What this dist adds to filterkit."""

from __future__ import annotations

from collections.abc import Callable

from filterkit.api import hookimpl


@hookimpl
def register_deployers(register: Callable[..., None]) -> None:
    register(
        "huggingface",
        "filterkit_hf.deployer:HubDeployer",
        summary="a repository on the Hugging Face Hub, and an Inference Endpoint if asked for",
    )


@hookimpl
def register_models(register: Callable[..., None]) -> None:
    register(
        "huggingface-endpoint",
        "filterkit_hf.endpoint_model:EndpointModel",
        summary="asks a server: an Inference Endpoint, filterkit serve, or plain text-classification",
        schemes=("https", "http"),
    )
    register(
        "huggingface-hub",
        "filterkit_hf.hub_model:HubModel",
        summary="a student on the Hugging Face Hub (hf://owner/name), downloaded and run here",
        schemes=("hf",),
    )
