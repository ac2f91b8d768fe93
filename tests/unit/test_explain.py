"""What pydantic found wrong, in plain words."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import BaseModel, Field, ValidationError

from filterkit.explain import explain


class Model(BaseModel):
    address: Annotated[str, Field(max_length=5)]


def test_what_was_given_is_shown_without_user_and_password() -> None:
    with pytest.raises(ValidationError) as caught:
        Model.model_validate({"address": "https://me:hunter2@example.com/v1"})
    ((_, said),) = explain(caught.value)
    assert "https://…@example.com/v1" in said
    assert "hunter2" not in said
