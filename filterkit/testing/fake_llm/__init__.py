"""A fake LLM provider on 127.0.0.1: it speaks the protocols of Gemini, OpenAI and Anthropic, and goes wrong on demand.

    from filterkit.testing.fake_llm import FakeLLM, expected_scores

    with FakeLLM(latency_s=0.3, faults={"rate_limit": 0.05}) as server:
        ...  # point an SDK at server.url (Gemini, Anthropic) or server.openai_url, with any key and any model
    assert server.answered == 100

What they refuse it refuses too, in their words. `FakeLLM(openai_own=False)` is a local server instead,
such as vLLM or Ollama, which takes fields that OpenAI does not know (top_k, chat_template_kwargs).

Its scores follow from the text of each article alone (`expected_scores`), so that a test can prove every label right.
`python -m filterkit.testing.fake_llm --port 8080 --fault malformed=0.03` serves until Ctrl-C. `FAULTS` names what can
go wrong, `BATCH_FAULTS` what can with batches. What it charged for each article, it says (`paid`).
"""

from __future__ import annotations

from filterkit.testing.fake_llm.answers import expected_scores
from filterkit.testing.fake_llm.fake import Exchange, FakeLLM, digest
from filterkit.testing.fake_llm.faults import BATCH_FAULTS, FAULTS

__all__ = ["BATCH_FAULTS", "FAULTS", "Exchange", "FakeLLM", "digest", "expected_scores"]
