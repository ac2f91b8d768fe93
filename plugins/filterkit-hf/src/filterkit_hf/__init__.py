"""Hugging Face for filterkit: deployer `huggingface`, remote models, and the command `filterkit endpoint`."""
