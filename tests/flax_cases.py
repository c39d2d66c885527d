"""What the Flax tests share. Models are tiny; what costs time is compiling, so each test compiles
few functions and XLA is told not to optimise."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="the Flax models need jax: make test installs it")
pytest.importorskip("flax", reason="the Flax models need flax: make test installs it")

import torch  # noqa: E402
from flax import nnx  # noqa: E402

from speechlib import configs  # noqa: E402

jax.config.update("jax_disable_most_optimizations", True)
torch.set_num_threads(1)

ENCODER = {
    "model_type": "wavlm", "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "conv_dim": [8, 8], "conv_stride": [5, 2], "conv_kernel": [10, 3],
    "num_conv_pos_embeddings": 6, "num_conv_pos_embedding_groups": 2, "feat_extract_norm": "layer",
    "conv_bias": True, "mask_time_prob": 0.3, "mask_time_length": 3, "mask_feature_prob": 0.2,
    "mask_feature_length": 2, "layerdrop": 0.5,
}  # fmt: skip
DECODER = {
    "vocab_size": 30, "d_model": 12, "decoder_layers": 2, "decoder_attention_heads": 2,
    "decoder_ffn_dim": 20, "max_target_positions": 10, "decoder_layerdrop": 0.3,
}  # fmt: skip


def torch_model(seed=0):
    """A random SpeechEncoderDecoder with a bridge, whose every parameter matters, in eval mode."""
    from speechlib.torch_models import speech_encoder_decoder, speech_to_text_2, wavlm

    torch.manual_seed(seed)
    encoder = wavlm.WavLM(configs.WavLMConfig.from_hugging_face(ENCODER))
    decoder = speech_to_text_2.Speech2Text2(configs.Speech2Text2Config.from_hugging_face(DECODER))
    model = speech_encoder_decoder.SpeechEncoderDecoder(encoder, decoder)
    for name, parameter in model.named_parameters():
        if not name.endswith("table"):
            parameter.data += 0.3 * torch.randn_like(parameter)
    return model.eval()


def given(seed=0):
    """waveform (3, samples), lengths, tokens, labels with some that are not counted."""
    rng = np.random.default_rng(seed)
    waveform = rng.normal(0, 1, (3, 200)).astype(np.float32)
    tokens = rng.integers(3, DECODER["vocab_size"], (3, 7))
    labels = tokens.copy()
    labels[1, 4:] = labels[0, 2] = -100
    return waveform, np.array([200, 140, 171]), tokens, labels


__all__ = ["jax", "nnx", "torch_model", "given", "ENCODER", "DECODER"]
