"""The remote model asks an Inference Endpoint that was deployed, as it stands on a fake Hub."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filterkit_hf.deployer import HubDeployer
from filterkit_hf.endpoint_model import EndpointModel

from filterkit.api import Context, FilterSpec, load_scorer
from filterkit.testing.fake_hub import FakeHub

TEXTS = ["neighbours helped volunteers", "a new sensor prototype", "", "汉字"]


@pytest.fixture
def address(hub: FakeHub, whole: None, deployer: Callable[..., HubDeployer], student: tuple[Path, str]) -> str:
    """Of a running endpoint that serves the student."""
    one = deployer(endpoint="tiny", hardware="intel-x1")
    one.activate(one.publish(*student))
    return str(one._endpoints.wait("tiny", None, 60).url)


def model(spec: FilterSpec, context: Context, **options: Any) -> EndpointModel:
    return EndpointModel(EndpointModel.Options.model_validate(options), spec, context)  # type: ignore[arg-type]


def test_it_scores_as_the_folder_does_at_its_price(
    address: str, student: tuple[Path, str], hub: FakeHub, spec: FilterSpec, context: Context, tmp_path: Path
) -> None:
    here = load_scorer(student[0])
    there = model(spec, context, cold_start_s=30).load(address)
    expected = here.predict(here.encode(TEXTS)).scores
    np.testing.assert_allclose(there.predict(there.encode(TEXTS)).scores, expected, atol=1e-4)
    verdicts = there.verdicts([{"title": "t", "content": text} for text in TEXTS])
    assert verdicts is not None
    assert [set(one["scores"]) for one in verdicts] == [set(spec.names), set(spec.names), set(), set(spec.names)]
    there.close()
    asking = model(spec, context, endpoints_api=hub.endpoints_url)
    price = asking.usd_per_hour(address)
    assert price is not None
    assert price > 0
    assert asking.usd_per_hour("https://elsewhere.example.com") is None
    assert model(spec, context).usd_per_hour(address) is None, "no address of Hugging Face's"
    nobody = Context(workdir=tmp_path, secret=lambda name: Context(tmp_path).secret("NO_SUCH_TOKEN_HERE"))
    assert model(spec, nobody, endpoints_api=hub.endpoints_url).usd_per_hour(address) is None
