"""Oracle `gemini` for filterkit: labels articles with Google's Gemini models."""
