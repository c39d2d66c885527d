"""Makes the goldens of Whisper's variants: what transformers 4.46.3 makes of the decoder alone.

    python tests/golden/make_whisper_variants.py      (in an environment with transformers==4.46.3)

Writes tests/golden/whisper-decoder/ (config.json, model.safetensors, outputs.npz): the causal
language model with and without a memory, padded and not, its maps, heads switched off, greedy
tokens. For make_whisper.py's whisper-a and whisper-b: what the encoder returns of every layer.
"""

import json

import numpy as np
import torch
import transformers
from make_whisper import HERE, VERSION, B, inputs, perturbed
from transformers import WhisperConfig, WhisperForCausalLM, WhisperForConditionalGeneration

SIZES = {**B, "is_encoder_decoder": False, "activation_function": "silu"}


@torch.no_grad()
def decoder(seed=3):
    config = WhisperConfig(**SIZES)
    whole = perturbed(config, seed)
    model = WhisperForCausalLM._from_config(config, attn_implementation="eager")
    model.model.decoder.load_state_dict(whole.model.decoder.state_dict())
    model = model.eval()
    folder = HERE / "whisper-decoder"
    model.save_pretrained(folder)
    given = inputs(config, seed)
    rng = np.random.default_rng(seed)
    tokens, mask = torch.tensor(given["tokens"]), torch.tensor(given["token_mask"])
    memory = torch.tensor(rng.normal(size=(3, 7, config.d_model)), dtype=torch.float32)
    heads = rng.integers(0, 2, (2, config.decoder_layers, config.decoder_attention_heads))
    heads[:, 0, 0], heads[:, -1, -1] = 0, 1
    out = {"tokens": tokens, "token_mask": mask, "memory": memory, "heads": torch.tensor(heads)}
    for name, heard in (("alone", None), ("hearing", (memory,))):
        full = model(tokens, encoder_outputs=heard, output_attentions=True)
        out[f"{name}.logits"] = full.logits
        for layer, weights in enumerate(full.attentions):
            out[f"{name}.blocks.{layer}.self_attention.weights"] = weights
        for layer, weights in enumerate(full.cross_attentions if heard else ()):
            out[f"{name}.blocks.{layer}.cross_attention.weights"] = weights
        out[f"{name}.padded"] = model(tokens, attention_mask=mask, encoder_outputs=heard).logits
        self_heads, cross_heads = (torch.tensor(h, dtype=torch.float32) for h in heads)
        off = {"head_mask": self_heads} | ({"cross_attn_head_mask": cross_heads} if heard else {})
        out[f"{name}.ablated"] = model(tokens, encoder_outputs=heard, **off).logits
        said = tokens[:, :2]
        for _ in range(10):  # greedy, by hand: no rule and no end
            logits = model(said, encoder_outputs=heard).logits
            said = torch.cat([said, logits[:, -1].argmax(-1, keepdim=True)], dim=1)
        out[f"{name}.greedy"] = said
    out["versions"] = np.array(json.dumps({"transformers": transformers.__version__}))
    np.savez_compressed(folder / "outputs.npz", **{n: np.asarray(x) for n, x in out.items()})


@torch.no_grad()
def listener(name):
    model = WhisperForConditionalGeneration.from_pretrained(HERE / name).eval()
    mel = torch.tensor(np.load(HERE / name / "outputs.npz")["mel"])[:1]
    states = model.model.encoder(mel, output_hidden_states=True).hidden_states
    return {f"{name}.{layer}": state.numpy() for layer, state in enumerate(states)}


def main():
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, got {transformers.__version__}")
    decoder()
    states = {**listener("whisper-a"), **listener("whisper-b")}
    np.savez_compressed(HERE / "whisper_listener.npz", **states)


if __name__ == "__main__":
    main()
