"""The models in Flax NNX: the same files, names and order as `torch_models`, so that a diff between
the two shows what a framework decides. Read in this order: attention, transformer, kv_cache,
gated_attention, wavlm, speech_to_text_2, speech_encoder_decoder, generation, loading."""
