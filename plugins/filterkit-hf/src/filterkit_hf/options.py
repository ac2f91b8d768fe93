"""Options of the deployer `huggingface`, and the addresses that a token may be sent to."""

from __future__ import annotations

import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from filterkit.api import ConfigError, Context, Options

HUB = "https://huggingface.co"
ENDPOINTS_API = "https://api.endpoints.huggingface.cloud/v2"
ENDPOINTS_API = "https://api.endpoints.huggingface.cloud/v2"
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_ENDPOINT_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", re.ASCII)
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def safe_address(address: str) -> str:
    """An address without its last slash. ValueError unless it is https, or http on this machine: a token goes there."""
    parts = urlsplit(address)
    if not (parts.hostname and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK))):
        raise ValueError(f"{address!r} is neither https:// nor on this machine, and the token would be sent there")
    if parts.username or parts.password:
        raise ValueError("an address holds no user and no password; the token comes from HF_TOKEN")
    return address.rstrip("/")


def token_of(ctx: Context, variable: str) -> str:
    """The token in an environment variable. ConfigError where it is unset, or no header can carry it: the error of who
    tried would show it."""
    token = ctx.secret(variable)
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError("holds what no token does: a blank, a line break or a letter beyond ASCII", where=variable)
    return token


def token_if_set(ctx: Context, variable: str) -> str | None:
    """The same; None where it is unset."""
    try:
        ctx.secret(variable)
    except ConfigError:
        return None
    return token_of(ctx, variable)


def hub_address() -> str:
    """The Hub's address: HF_ENDPOINT, else huggingface.co. ConfigError on one that no token should be sent to."""
    try:
        return safe_address(os.environ.get("HF_ENDPOINT", "").strip() or HUB)
    except ValueError as error:
        raise ConfigError(str(error), where="HF_ENDPOINT") from error


def _repo_id(value: str) -> str:
    if not _REPO_ID.fullmatch(value) or ".." in value or "--" in value or value.endswith((".git", ".", "-")):
        raise ValueError("must be owner/name, of letters, digits, '.', '_' and '-', as in me/uplifting-v1")
    return value


def _endpoint_name(value: str) -> str:
    if not _ENDPOINT_NAME.fullmatch(value):
        raise ValueError("must be of at most 32 lower-case letters, digits and '-', as in uplifting-v1")
    return value


RepoId = Annotated[str, AfterValidator(_repo_id)]
EndpointName = Annotated[str, AfterValidator(_endpoint_name)]
Address = Annotated[str, AfterValidator(safe_address)]


class HubOptions(Options):
    """Where a student goes, who may see it, and what goes along."""

    repo_id: RepoId = Field(description="the model repository, owner/name; made if it is not there")
    public: bool = Field(
        False, description="everybody may read the repositories; without it, a public one is refused, not used"
    )
    replace: bool = Field(
        False, description="deploy over files on main that filterkit did not put there (git keeps their history)"
    )
    report: bool = Field(False, description="upload report.html too; it quotes articles of the test split")
    license: str = Field(
        "other",
        pattern=r"^[a-z0-9][a-z0-9.-]*$",
        description="licence in cards that are written here, by the Hub's names (apache-2.0, mit, cc-by-4.0 …)",
    )
    dataset_repo_id: RepoId | None = Field(
        None, description="upload the labelled data to this dataset repository as well, owner/name"
    )
    dataset_dir: str | None = Field(
        None,
        description="folder of train, val and test.jsonl, from the workspace on; datasets/NAME-vVERSION if not given",
    )
    dataset_text: bool = Field(
        True,
        description="whether the dataset has titles, contents, addresses and evidence; if not: ids, labels, sources",
    )
    endpoint: EndpointName | None = Field(
        None, description="name of an Inference Endpoint that serves the live student; made if it is not there"
    )
    hardware: str = Field(
        "intel-x4",
        description="what the endpoint runs on: TYPE-SIZE (intel-x4, nvidia-l4-x1) or vendor/region/type/size; "
        "`filterkit endpoint hardware` lists them with prices",
    )
    min_replica: int = Field(0, ge=0, le=100, description="copies of the endpoint that always run; 0: scale to zero")
    max_replica: int = Field(1, ge=1, le=100, description="copies of the endpoint that run at most")
    scale_to_zero_timeout: int = Field(
        15, ge=1, le=10_000, description="minutes without a request after which the endpoint scales to zero"
    )
    endpoint_timeout_s: float = Field(
        1200.0, gt=0, le=86_400, description="seconds that an endpoint may take to come up before deploying stops"
    )
    endpoints_api: Address = Field(
        ENDPOINTS_API,
        description="address of the Inference Endpoints API: https, or http on this machine",
    )
    patience_s: float = Field(
        30.0, ge=0, le=3600, description="seconds of outage that are waited out; then deploying stops with exit code 4"
    )
    timeout_s: float = Field(60.0, gt=0, le=3600, description="seconds without a byte after which a connection is dead")

    @model_validator(mode="after")
    def _fits(self) -> HubOptions:
        if self.dataset_repo_id is None and (self.dataset_dir is not None or not self.dataset_text):
            raise ValueError("dataset_dir and dataset_text mean nothing without dataset_repo_id")
        if self.max_replica < self.min_replica:
            raise ValueError("max_replica is smaller than min_replica")
        return self
