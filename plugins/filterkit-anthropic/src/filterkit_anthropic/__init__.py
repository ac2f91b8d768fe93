"""Oracle `anthropic` for filterkit: Claude, through Anthropic's own SDK."""
