"""Inference Endpoints: hardware by name, create, update, wait, pause, resume, remove."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Callable
from typing import Any

from huggingface_hub import InferenceEndpoint, InferenceEndpointHardware, constants

from filterkit.api import ConfigError, GateRefused, StoppedEarly
from filterkit_hf.faults import AGAIN, NotThere
from filterkit_hf.hub import Access
from filterkit_hf.options import HubOptions

SERVES = frozenset({"running", "scaledToZero"})
"""States in which a request is answered, be it after a cold start."""
FAILED = frozenset({"failed", "updateFailed"})
_LONGEST_PAUSE_S = 5.0
_TELL_EVERY_S = 30.0
_MOST_SAID = 300
_EXCEPTION = re.compile(r"[A-Za-z_.]+(Error|Exception): ")
_CUSTOM = "custom"
"""Task and framework of a repository that brings its handler.py."""


class Endpoints:
    """The Inference Endpoints of one namespace (a user or an organisation)."""

    def __init__(self, access: Access, namespace: str | None, address: str) -> None:
        self._access = access
        self._namespace = namespace
        self._address = address

    def hardware(self) -> list[InferenceEndpointHardware]:
        """All there is, the cheapest first; what is gone for good is left out."""
        found: list[InferenceEndpointHardware] = self._call("list_inference_endpoints_hardware", "its hardware")
        return sorted((h for h in found if h.status != "deprecated"), key=lambda h: (h.price_per_hour, h.id))

    def choose(self, name: str) -> InferenceEndpointHardware:
        """The hardware of a name: vendor/region/type/size, its id, or TYPE-SIZE, of which the first word of TYPE is
        enough; of several, what is available and cheapest. ConfigError where there is none."""
        known = self.hardware()
        fitting = [h for h in known if name in _names(h)]
        if not fitting:
            some = ", ".join(dict.fromkeys(_short_name(h) for h in known if h.accelerator == "cpu"))
            raise ConfigError(
                f"there is no hardware {name!r} (there is {some or 'none'}, …)",
                where="hardware",
                fix="List all with prices: filterkit endpoint hardware",
            )
        usable = [h for h in fitting if h.status != "not_available"]
        if not usable:
            raise ConfigError(f"{name} cannot be had now ({fitting[0].status})", where="hardware", fix="Choose another")
        return min(usable, key=lambda h: (h.price_per_hour, h.vendor != "aws", h.region != "us-east-1", h.id))

    def find(self, name: str) -> InferenceEndpoint | None:
        """The endpoint of a name, as it is now."""
        try:
            found: InferenceEndpoint = self._call("get_inference_endpoint", name, name=name)
        except NotThere:
            return None
        return found

    def get(self, name: str) -> InferenceEndpoint:
        """The same; NotThere where there is none."""
        found = self.find(name)
        if found is None:
            raise NotThere(f"there is no endpoint {name}", where=self._namespace)
        return found

    def at(self, address: str) -> InferenceEndpoint | None:
        """The endpoint that answers at an address, if it is one of this namespace."""
        listed: list[InferenceEndpoint] = self._call("list_inference_endpoints", "the list of them")
        return next((endpoint for endpoint in listed if (endpoint.url or "").rstrip("/") == address), None)

    def price_per_hour(self, endpoint: InferenceEndpoint) -> float | None:
        """US dollars an hour of one copy, by today's list."""
        at = _hardware_of(endpoint)
        return next((h.price_per_hour for h in self.hardware() if _place(h) == at), None)

    def serve(self, name: str, repo_id: str, commit: str, options: HubOptions) -> None:
        """Let the endpoint serve that commit: it is made, changed or resumed, unless it does so. `wait` comes after."""
        wanted = self.choose(options.hardware)
        there = self.find(name)
        if there is None:
            self._create(name, repo_id, commit, wanted, options)
        else:
            self._update(there, repo_id, commit, wanted, options)

    def _create(
        self, name: str, repo_id: str, commit: str, wanted: InferenceEndpointHardware, options: HubOptions
    ) -> None:
        self._call(
            "create_inference_endpoint",
            name,
            name=name,
            repository=repo_id,
            revision=commit,
            framework=_CUSTOM,
            task=_CUSTOM,
            vendor=wanted.vendor,
            region=wanted.region,
            type="authenticated",
            **_compute(wanted, options),
        )

    def _update(
        self,
        there: InferenceEndpoint,
        repo_id: str,
        commit: str,
        wanted: InferenceEndpointHardware,
        options: HubOptions,
    ) -> None:
        at = _hardware_of(there)
        if at[:2] != (wanted.vendor, wanted.region):
            raise ConfigError(
                f"endpoint {there.name} runs at {at[0]}/{at[1]}, and an endpoint does not move",
                where="hardware",
                fix=f"Name hardware there, or remove it first: filterkit endpoint remove {there.name}",
            )
        if there.repository != repo_id:
            raise ConfigError(f"endpoint {there.name} serves {there.repository}", where="endpoint", fix="Name another")
        scaling = there.raw["compute"].get("scaling", {})
        as_wanted = (
            there.revision == commit
            and at == _place(wanted)
            and scaling.get("minReplica") == options.min_replica
            and scaling.get("maxReplica") == options.max_replica
            and scaling.get("scaleToZeroTimeout") == options.scale_to_zero_timeout
        )
        state = str(there.raw["status"]["state"])
        if not as_wanted or state in FAILED:
            self._call(
                "update_inference_endpoint",
                there.name,
                name=there.name,
                repository=repo_id,
                revision=commit,
                **_compute(wanted, options),
            )
        if state == "paused":
            self.resume(there.name)

    def wait(self, name: str, commit: str | None, timeout_s: float) -> InferenceEndpoint:
        """Look until it serves (that commit), telling its states on stderr. GateRefused when it fails, StoppedEarly
        after `timeout_s` seconds."""
        began, told, said, pause = time.monotonic(), 0.0, "", 0.25
        while True:
            endpoint = self.get(name)
            state, waited = str(endpoint.raw["status"]["state"]), time.monotonic() - began
            if state in FAILED:
                raise GateRefused(
                    f"endpoint {name} did not come up ({state}): {message_of(endpoint) or 'it does not say why'}",
                    where=self._namespace,
                    fix=f"Its logs: https://endpoints.huggingface.co/{self._namespace or ''}",
                )
            if state in SERVES and commit in (None, endpoint.revision):
                return endpoint
            if state == "paused":
                raise StoppedEarly(f"endpoint {name} is paused", fix=f"filterkit endpoint resume {name}")
            if waited > timeout_s:
                raise StoppedEarly(
                    f"endpoint {name} is still {state} after {waited:,.0f} s",
                    fix=AGAIN,
                )
            if state != said or waited - told > _TELL_EVERY_S:
                print(f"endpoint {name}: {state} ({waited:,.0f} s)", file=sys.stderr, flush=True)
                told, said = waited, state
            self._access.wait(min(pause, max(0.05, timeout_s - waited)))
            pause = min(pause * 1.5, _LONGEST_PAUSE_S)

    def pause(self, name: str) -> InferenceEndpoint:
        """Stop it and its price until `resume`."""
        endpoint: InferenceEndpoint = self._call("pause_inference_endpoint", name, name=name)
        return endpoint

    def resume(self, name: str) -> InferenceEndpoint:
        """Start a paused one. Harmless when it runs."""
        endpoint: InferenceEndpoint = self._call("resume_inference_endpoint", name, name=name)
        return endpoint

    def remove(self, name: str) -> None:
        """Delete it; its repository stays. NotThere where there is none."""
        self._call("delete_inference_endpoint", name, name=name)

    def _call(self, function: str, what: str, **options: Any) -> Any:
        """One of HfApi's functions, at the configured address."""
        found: Callable[..., Any] = getattr(self._access.api, function)
        before = constants.INFERENCE_ENDPOINTS_ENDPOINT
        constants.INFERENCE_ENDPOINTS_ENDPOINT = self._address  # the library has no other way to say it
        try:
            return self._access.call(f"Inference Endpoints, {what}", found, namespace=self._namespace, **options)
        finally:
            constants.INFERENCE_ENDPOINTS_ENDPOINT = before


def described(hardware: InferenceEndpointHardware) -> str:
    """Hardware in words, with its price."""
    cores = f"{hardware.num_cpus} vCPU, " if hardware.num_cpus else ""
    gpu = f", {hardware.num_accelerators} × {hardware.architecture}" if hardware.gpu_memory_gb else ""
    return (
        f"{_short_name(hardware)} at {hardware.vendor}/{hardware.region} ({cores}{hardware.memory_gb:g} GB{gpu}), "
        f"${hardware.price_per_hour:g} an hour"
    )


def memory_gb(hardware: InferenceEndpointHardware) -> float:
    """Where the weights must fit: the GPU's memory, else the machine's."""
    return float(hardware.gpu_memory_gb or hardware.memory_gb)


def _compute(wanted: InferenceEndpointHardware, options: HubOptions) -> dict[str, Any]:
    return {
        "accelerator": wanted.accelerator,
        "instance_type": wanted.instance_type,
        "instance_size": wanted.instance_size,
        "min_replica": options.min_replica,
        "max_replica": options.max_replica,
        "scale_to_zero_timeout": options.scale_to_zero_timeout,
    }


def _names(hardware: InferenceEndpointHardware) -> set[str]:
    family = hardware.instance_type.partition("-")[0]
    return {"/".join(_place(hardware)), hardware.id, _short_name(hardware), f"{family}-{hardware.instance_size}"}


def _short_name(hardware: InferenceEndpointHardware) -> str:
    return f"{hardware.instance_type}-{hardware.instance_size}"


def _place(hardware: InferenceEndpointHardware) -> tuple[str, str, str, str]:
    return hardware.vendor, hardware.region, hardware.instance_type, hardware.instance_size


def _hardware_of(endpoint: InferenceEndpoint) -> tuple[str, str, str, str]:
    provider, compute = endpoint.raw["provider"], endpoint.raw["compute"]
    return provider["vendor"], provider["region"], compute["instanceType"], compute["instanceSize"]


def message_of(endpoint: InferenceEndpoint) -> str:
    """What the endpoint says of its state, on one line; of a long log its last exception, else its end."""
    text = str(endpoint.raw["status"].get("message") or endpoint.raw["status"].get("errorMessage") or "")
    if len(text) > _MOST_SAID:
        text = next((line for line in reversed(text.splitlines()) if _EXCEPTION.match(line)), text)
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= _MOST_SAID else "…" + line[-_MOST_SAID:]
