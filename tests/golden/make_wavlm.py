"""Makes the WavLM goldens: tiny random checkpoints and what transformers 4.46.3 does with them.

    python tests/golden/make_wavlm.py      (in an environment with transformers==4.46.3)

Writes tests/golden/{wavlm,wav2vec2}-*/ (config.json, model.safetensors or pytorch_model.bin, and
outputs.npz). Weights are random, norms and biases moved away from 1 and 0.

wavlm-base: group norm in the front end, post-norm blocks; as a .bin file.
wavlm-large: layer norm in the front end, biases there, stable layer norm; no mask embedding.
wavlm-adapter: an adapter that narrows and shortens the output, odd position kernel, relu.
wav2vec2-base, wav2vec2-large: the same two kinds without distances; old names of weight norm.
"""

from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers.models.wav2vec2.configuration_wav2vec2 import Wav2Vec2Config
from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model
from transformers.models.wavlm.configuration_wavlm import WavLMConfig
from transformers.models.wavlm.modeling_wavlm import WavLMModel

HERE = Path(__file__).parent
VERSION = "4.46.3"

SMALL = dict(
    hidden_size=24, num_hidden_layers=3, num_attention_heads=4, intermediate_size=20,
    conv_dim=[12, 10, 12], conv_kernel=[10, 3, 2], conv_stride=[5, 2, 2],
    num_conv_pos_embeddings=6, num_conv_pos_embedding_groups=4, mask_time_length=3,
)  # fmt: skip
LARGE = dict(
    SMALL, feat_extract_norm="layer", do_stable_layer_norm=True, conv_bias=True, mask_time_prob=0.0
)
DISTANCES = dict(num_buckets=8, max_bucket_distance=12)
MODELS = {
    "wavlm-base": (WavLMModel, WavLMConfig, dict(SMALL, **DISTANCES)),
    "wavlm-large": (WavLMModel, WavLMConfig, dict(LARGE, num_buckets=10, max_bucket_distance=9)),
    "wavlm-adapter": (
        WavLMModel,
        WavLMConfig,
        dict(
            SMALL, **DISTANCES, add_adapter=True, num_adapter_layers=2, output_hidden_size=14,
            num_conv_pos_embeddings=5, feat_extract_norm="layer", hidden_act="relu",
            num_hidden_layers=2, layer_norm_eps=1e-3,
        ),
    ),
    "wav2vec2-base": (Wav2Vec2Model, Wav2Vec2Config, dict(SMALL, num_hidden_layers=2)),
    "wav2vec2-large": (Wav2Vec2Model, Wav2Vec2Config, dict(LARGE, num_hidden_layers=2)),
}  # fmt: skip
LENGTHS = [343, 240, 37]  # samples: 16, 11 and 1 frames


def perturbed(kind, config, seed):
    """A random model whose every parameter matters."""
    torch.manual_seed(seed)
    model = kind._from_config(config, attn_implementation="eager")
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter)
        if "norm" in name and name.endswith("weight"):
            parameter.data = 1 + 0.2 * noise
        elif name.endswith("bias"):
            parameter.data = 0.2 * noise
        elif name.endswith(("gru_rel_pos_const", "original0")):
            parameter.data = parameter.data * (1 + 0.2 * noise)
        elif name.endswith(("q_proj.weight", "k_proj.weight")):
            parameter.data = noise * 1.6 / parameter.shape[-1] ** 0.5
        else:
            parameter.data = parameter.data + noise / max(parameter[0].numel(), 4) ** 0.5
    return model.eval()


@torch.no_grad()
def forward(model, waveform, **more):
    """Hidden states and maps; WavLM's maps are the mean of the heads, copied to each head."""
    out = model(waveform, output_hidden_states=True, output_attentions=True, **more)
    arrays = {"last": out.last_hidden_state}
    arrays |= {f"hidden.{i}": hidden for i, hidden in enumerate(out.hidden_states)}
    wavlm = model.config.model_type == "wavlm"
    for i, weights in enumerate(out.attentions):
        arrays[f"weights.{i}"] = weights[:, :1] if wavlm else weights
    return {name: value.numpy().copy() for name, value in arrays.items()}


def make(name, seed):
    kind, config_class, settings = MODELS[name]
    model = perturbed(kind, config_class(**settings), seed)
    folder = HERE / name
    model.save_pretrained(folder, safe_serialization=name != "wavlm-base")
    if name.startswith("wav2vec2"):
        endings = {"parametrizations.weight.original0": "weight_g"}
        endings["parametrizations.weight.original1"] = "weight_v"
        tensors = {}
        for tensor_name, tensor in model.state_dict().items():
            for new, old in endings.items():
                tensor_name = tensor_name.replace(new, old)
            tensors[tensor_name] = tensor.contiguous()
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    waveform = torch.randn(3, max(LENGTHS), generator=torch.Generator().manual_seed(seed))
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    out = {"waveform": waveform.numpy(), "lengths": np.array(LENGTHS)}
    out |= forward(model, waveform)
    padded = forward(model, waveform * mask, attention_mask=mask.long())
    out |= {f"padded.{key}": value for key, value in padded.items()}
    frames = out["hidden.0"].shape[1]
    lengths = model._get_feature_vector_attention_mask(frames, mask.long(), add_adapter=False)
    out["frame_mask"] = lengths.numpy()
    shortened = model._get_feature_vector_attention_mask(out["last"].shape[1], mask.long())
    out["output_mask"] = shortened.numpy()
    if hasattr(model, "masked_spec_embed"):
        spans = np.random.default_rng(seed).random((3, frames)) < 0.3
        out["spans"] = spans
        out["spans.last"] = forward(model, waveform, mask_time_indices=torch.tensor(spans))["last"]
    np.savez_compressed(folder / "outputs.npz", **out)


if __name__ == "__main__":
    if transformers.__version__ != VERSION:
        raise SystemExit(f"needs transformers {VERSION}, this is {transformers.__version__}")
    for seed, name in enumerate(MODELS):
        make(name, seed)
