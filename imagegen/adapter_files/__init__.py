"""LoRA files, read and distrusted without torch."""
