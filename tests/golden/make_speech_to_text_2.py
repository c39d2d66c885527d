"""Makes the Speech2Text2 goldens: tiny random decoders and what transformers 4.46.3 does with them.

    python tests/golden/make_speech_to_text_2.py   (in an environment with transformers==4.46.3)

Writes tests/golden/speech-to-text-2-{a,b}/ (config.json, generation_config.json, model.safetensors,
outputs.npz). Weights are random, norms and biases moved away from 1 and 0.

speech-to-text-2-a: as published in shape: pad 1, relu, scaled embeddings. Its table ends long
before the texts do.
speech-to-text-2-b: pad 0, gelu, no scaling, an odd width, one block more.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, Speech2Text2Config, Speech2Text2ForCausalLM

HERE = Path(__file__).parent
VERSION = "4.46.3"
FRAMES, TOKENS = 7, 9
A = dict(
    vocab_size=37, d_model=24, decoder_layers=2, decoder_attention_heads=3, decoder_ffn_dim=40,
    max_target_positions=5, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    decoder_start_token_id=2, dropout=0.1, decoder_layerdrop=0.1,
)  # fmt: skip
B = dict(
    vocab_size=31, d_model=15, decoder_layers=3, decoder_attention_heads=5, decoder_ffn_dim=22,
    max_target_positions=64, pad_token_id=0, bos_token_id=3, eos_token_id=4,
    decoder_start_token_id=3, activation_function="gelu", scale_embedding=False,
)  # fmt: skip


def perturb(model):
    """Every parameter matters, attention is far from uniform, and a sinusoid table stays one."""
    for name, parameter in model.named_parameters():
        noise = torch.randn_like(parameter)
        if name.endswith("embed_positions.weights"):
            continue
        if "norm" in name and name.endswith("weight"):
            parameter.data = 1 + 0.2 * noise
        elif parameter.dim() < 2 or "original0" in name:
            parameter.data += 0.2 * noise
        elif "embed_tokens" in name:
            parameter.data = 0.5 * noise
        elif "original1" in name:
            parameter.data = noise
        else:
            parameter.data = noise * 1.6 / parameter[0].numel() ** 0.5
    return model.eval()


def inputs(config, seed, batch=3):
    """Tokens padded at the end, at the front and in the middle; memory with padded frames."""
    rng = np.random.default_rng(seed)
    mask = np.ones((batch, TOKENS), dtype=np.int64)
    mask[1, -3:] = 0
    mask[2, [0, 1, 4]] = 0  # row 2 starts where it may look nowhere
    tokens = rng.integers(5, config.vocab_size, (batch, TOKENS))
    tokens[mask == 0] = config.pad_token_id
    memory = rng.normal(0, 1, (batch, FRAMES, config.d_model)).astype(np.float32)
    heard = np.ones((batch, FRAMES), dtype=np.int64)
    heard[1, 4:] = 0
    heard[2, 1:] = 0
    long = rng.integers(5, config.vocab_size, (2, 30))
    long[1, 11:14] = config.pad_token_id
    return dict(tokens=tokens, token_mask=mask, memory=memory, memory_mask=heard, long=long)


@torch.no_grad()
def forward(model, given):
    """Logits with and without memory and masks, hidden states after every block, every map."""
    t = {name: torch.tensor(value) for name, value in given.items()}
    heard = {"encoder_hidden_states": t["memory"], "encoder_attention_mask": t["memory_mask"]}
    out, hooks = {}, []
    for i, layer in enumerate(model.model.decoder.layers):

        def keep(module, args, result, name=f"blocks.{i}.hidden"):
            out[name] = result[0].clone()

        hooks.append(layer.register_forward_hook(keep))
    full = model(
        t["tokens"], attention_mask=t["token_mask"], output_attentions=True, use_cache=False,
        **heard,
    )  # fmt: skip
    for hook in hooks:
        hook.remove()
    for i, (own, cross) in enumerate(zip(full.attentions, full.cross_attentions, strict=True)):
        out[f"blocks.{i}.self_attention.weights"] = own
        out[f"blocks.{i}.cross_attention.weights"] = cross
    out["logits"] = full.logits
    out["logits.no_token_mask"] = model(t["tokens"], **heard).logits
    out["logits.no_masks"] = model(t["tokens"], encoder_hidden_states=t["memory"]).logits
    out["logits.alone"] = model(t["tokens"], attention_mask=t["token_mask"]).logits
    table = model.model.decoder.embed_positions.weights
    out["logits.long"] = model(t["long"]).logits
    model.model.decoder.embed_positions.weights = table  # it has grown
    return {name: value.numpy() for name, value in out.items()}


@torch.no_grad()
def written(model, seed):
    """Greedy and beam texts of the causal language model, from padded prompts. Without the cache:
    with it 4.46.3 counts padding as positions, against its own uncached path."""
    c = model.config
    rng = np.random.default_rng(seed)
    prompt = rng.integers(5, c.vocab_size, (3, 4))
    prompt[1, :2] = prompt[2, :1] = c.pad_token_id
    t = torch.tensor(prompt)
    common = dict(attention_mask=(t != c.pad_token_id).long(), use_cache=False)
    out = {"prompt": prompt}
    out["greedy"] = model.generate(t, max_new_tokens=12, **common).numpy()
    found = model.generate(
        t, max_new_tokens=9, num_beams=3, length_penalty=0.7, early_stopping=True,
        return_dict_in_generate=True, output_scores=True, **common,
    )  # fmt: skip
    out["beams"], out["beams.scores"] = found.sequences.numpy(), found.sequences_scores.numpy()
    return out


def checkpoint(name, config, seeds):
    """The first seed whose greedy rows end at different places."""
    for seed in seeds:
        torch.manual_seed(seed)
        model = perturb(Speech2Text2ForCausalLM(Speech2Text2Config(**config)))
        model.generation_config = GenerationConfig(
            bos_token_id=config["bos_token_id"], eos_token_id=config["eos_token_id"],
            pad_token_id=config["pad_token_id"], suppress_tokens=[config["pad_token_id"], 7],
            decoder_start_token_id=config["decoder_start_token_id"],
        )  # fmt: skip
        table = model.model.decoder.embed_positions.weights
        texts = written(model, seed)
        model.model.decoder.embed_positions.weights = table  # it has grown
        rows = texts["greedy"][:, 4:]
        ends = {(row == config["eos_token_id"]).argmax() for row in rows}
        if len(ends) > 1 and min(len(set(row.tolist())) for row in rows) >= 3:
            break
    else:
        raise SystemExit(f"{name}: no seed gave a telling model")
    folder = HERE / name
    model.save_pretrained(folder)
    given = inputs(model.config, seed)
    versions = {"transformers": transformers.__version__, "torch": torch.__version__, "seed": seed}
    arrays = given | forward(model, given) | texts | {"versions": np.array(json.dumps(versions))}
    np.savez_compressed(folder / "outputs.npz", **arrays)
    print(name, seed, texts["greedy"].tolist(), texts["beams"].tolist())


def main():
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, got {transformers.__version__}")
    checkpoint("speech-to-text-2-a", A, range(2000))
    checkpoint("speech-to-text-2-b", B, range(2000))


if __name__ == "__main__":
    main()
