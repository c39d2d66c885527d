"""The models in PyTorch. Read in this order: attention, transformer, kv_cache, whisper."""
