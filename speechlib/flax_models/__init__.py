"""The models in Flax NNX: the same files, names and order as `torch_models`, so that a diff between
the two shows what a framework decides. Read in the same order: attention, transformer, kv_cache."""
