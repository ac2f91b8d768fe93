"""Students from any Hugging Face base: LoRA, full fine-tuning, or heads on a frozen encoder."""
