"""Oracle `openai` for filterkit: OpenAI and any server that speaks its protocol."""
