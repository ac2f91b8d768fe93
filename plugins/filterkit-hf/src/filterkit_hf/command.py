"""filterkit endpoint: look at Inference Endpoints, and stop what costs money."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from huggingface_hub import InferenceEndpoint

    from filterkit_hf.endpoints import Endpoints

F = TypeVar("F", bound=Callable[..., Any])


def _common(command: F) -> F:
    """--namespace, --api and --json"""
    command = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")(command)
    command = click.option("--api", metavar="URL", help="Address of the Inference Endpoints API.")(command)
    return click.option("--namespace", metavar="NAME", help="User or organisation.  [default: HF_TOKEN's]")(command)


@click.group(name="endpoint")
def command() -> None:
    """Inference Endpoints of the Hugging Face Hub. The token is read from HF_TOKEN."""


@command.command()
@click.option("--accelerator", type=click.Choice(["cpu", "gpu", "neuron"]), help="Only hardware of this kind.")
@_common
def hardware(accelerator: str | None, namespace: str | None, api: str | None, as_json: bool) -> int:
    """What endpoints can run on, the cheapest first, with the price per hour."""
    from dataclasses import asdict

    from filterkit_hf.endpoints import described

    found = [h for h in _endpoints(namespace, api).hardware() if accelerator in (None, h.accelerator)]
    if as_json:
        _print_json([asdict(one) for one in found])
        return 0
    for one in found:
        click.echo(described(one) + ("" if one.status == "available" else f"  ({one.status})"))
    return 0


@command.command()
@click.argument("name")
@_common
def status(name: str, namespace: str | None, api: str | None, as_json: bool) -> int:
    """State, address, revision and price of an endpoint. Exit code 1 where it failed."""
    from filterkit_hf.endpoints import FAILED

    endpoints = _endpoints(namespace, api)
    endpoint = endpoints.get(name)
    _show(endpoint, endpoints.price_per_hour(endpoint), as_json)
    return 1 if _state(endpoint) in FAILED else 0


@command.command()
@click.argument("name")
@_common
def pause(name: str, namespace: str | None, api: str | None, as_json: bool) -> int:
    """Stop an endpoint, and what it costs, until it is resumed."""
    _show(_endpoints(namespace, api).pause(name), None, as_json)
    return 0


@command.command()
@click.argument("name")
@click.option("--wait", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait until it serves, at most so long.")
@_common
def resume(name: str, wait: float | None, namespace: str | None, api: str | None, as_json: bool) -> int:
    """Start a paused endpoint again."""
    endpoints = _endpoints(namespace, api)
    endpoint = endpoints.resume(name)
    _show(endpoint if wait is None else endpoints.wait(name, None, wait), None, as_json)
    return 0


@command.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_common
def remove(name: str, yes: bool, namespace: str | None, api: str | None, as_json: bool) -> int:
    """Delete an endpoint for good. Its repository stays."""
    endpoints = _endpoints(namespace, api)
    endpoint = endpoints.get(name)
    if not yes and not _agreed(f"Delete endpoint {name} of {endpoint.repository}, now {_state(endpoint)}?"):
        click.echo("nothing was removed", err=True)
        return 1
    endpoints.remove(name)
    if as_json:
        _print_json({"removed": name})
    else:
        click.echo(f"removed: {name}")
    return 0


def _agreed(question: str) -> bool:
    """The user's answer. ConfigError where nobody can be asked."""
    from filterkit.api import ConfigError

    try:
        return click.confirm(question, err=True)
    except click.Abort:
        raise ConfigError("nobody answered", where="filterkit endpoint remove", fix="Say --yes") from None


def _endpoints(namespace: str | None, api: str | None) -> Endpoints:
    """The endpoints of a namespace, through the real libraries: imported here, so that help stays fast."""
    from filterkit.api import ConfigError, Context
    from filterkit_hf.endpoints import Endpoints
    from filterkit_hf.hub import Access
    from filterkit_hf.options import ENDPOINTS_API, safe_address

    try:
        address = safe_address(api or ENDPOINTS_API)
    except ValueError as error:
        raise ConfigError(str(error), where="--api") from error
    return Endpoints(Access(Context(workdir=Path()), patience_s=30, timeout_s=60), namespace, address)


def _state(endpoint: InferenceEndpoint) -> str:
    return str(endpoint.raw["status"]["state"])


def _show(endpoint: InferenceEndpoint, price: float | None, as_json: bool) -> None:
    from filterkit_hf.endpoints import message_of

    values = {
        "name": endpoint.name,
        "state": _state(endpoint),
        "url": endpoint.url,
        "repository": endpoint.repository,
        "revision": endpoint.revision,
        "usd_per_hour": price,
        "message": message_of(endpoint),
    }
    if as_json:
        _print_json(values)
        return
    for name, value in values.items():
        if value not in (None, ""):
            click.echo(f"{name}: {f'${value:g} a running copy' if name == 'usd_per_hour' else value}")


def _print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
