"""LoRA fine-tuning (SFT, DPO): data, objectives, losses, loop, checkpoints."""
