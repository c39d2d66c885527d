"""Makes the Whisper goldens: tiny random checkpoints and what transformers 4.46.3 does with them.

    python tests/golden/make_whisper.py      (in an environment with transformers==4.46.3)

Writes tests/golden/whisper-{a,b}/ (config.json, generation_config.json, model.safetensors and
outputs.npz) and generation_rules.npz. Weights are random, norms and biases moved away from 1 and 0,
scores spread out: a fresh model's attention is nearly uniform and hides errors.

whisper-a: 80 mel bins, prompt by language and task tables, all kinds of suppressed tokens.
whisper-b: 128 mel bins, odd vocabulary, other head counts and widths in the decoder, relu, pad
token different from the end token, forced prompt in the old style.
"""

import json
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration
from transformers.generation.logits_process import (
    SuppressTokensAtBeginLogitsProcessor,
    SuppressTokensLogitsProcessor,
    WhisperTimeStampLogitsProcessor,
)
from transformers.models.whisper.modeling_whisper import _compute_mask_indices

HERE = Path(__file__).parent
VERSION = "4.46.3"

# whisper-a: text 0-39, end 40, start 41, <|de|> 42, <|en|> 43, translate 44, transcribe 45,
# <|startoflm|> 46, <|startofprev|> 47, <|nospeech|> 48, <|notimestamps|> 49, times from 50
A = dict(
    vocab_size=62, num_mel_bins=80, d_model=32, encoder_layers=2, decoder_layers=2,
    encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64, decoder_ffn_dim=64,
    max_source_positions=40, max_target_positions=24, pad_token_id=40, bos_token_id=40,
    eos_token_id=40, decoder_start_token_id=41, dropout=0.1, attention_dropout=0.1,
    activation_dropout=0.1, encoder_layerdrop=0.1, decoder_layerdrop=0.1, suppress_tokens=None,
    begin_suppress_tokens=None,
)  # fmt: skip
A_GENERATION = dict(
    decoder_start_token_id=41, bos_token_id=40, eos_token_id=40, pad_token_id=40, max_length=24,
    suppress_tokens=[3, 7, 11, 46, 47, 48], begin_suppress_tokens=[5, 40, 50257],
    lang_to_id={"<|de|>": 42, "<|en|>": 43}, task_to_id={"translate": 44, "transcribe": 45},
    no_timestamps_token_id=49, max_initial_timestamp_index=4, is_multilingual=True,
    return_timestamps=False,
)  # fmt: skip
# whisper-b: text 0-45, end 46, start 47, pad 48, two forced tokens 49 and 50
B = dict(
    vocab_size=51, num_mel_bins=128, d_model=36, encoder_layers=3, decoder_layers=2,
    encoder_attention_heads=2, decoder_attention_heads=6, encoder_ffn_dim=52, decoder_ffn_dim=44,
    max_source_positions=25, max_target_positions=19, pad_token_id=48, bos_token_id=46,
    eos_token_id=46, decoder_start_token_id=47, activation_function="relu", suppress_tokens=None,
    begin_suppress_tokens=None,
)  # fmt: skip
B_GENERATION = dict(
    decoder_start_token_id=47, bos_token_id=46, eos_token_id=46, pad_token_id=48, max_length=19,
    suppress_tokens=[1, 2, 47, 48, 49, 50], begin_suppress_tokens=[46],
    forced_decoder_ids=[[1, 50], [2, 49]],
)  # fmt: skip


def perturbed(config, seed):
    """A random model whose every parameter matters."""
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration._from_config(config, attn_implementation="eager")
    for name, parameter in model.named_parameters():
        if name.endswith("encoder.embed_positions.weight"):
            continue
        noise = torch.randn_like(parameter)
        if "layer_norm" in name and name.endswith("weight"):
            parameter.data = 1 + 0.2 * noise
        elif name.endswith("bias"):
            parameter.data = 0.2 * noise
        elif "conv" in name:
            parameter.data = 0.12 * noise
        elif "embed" in name:
            parameter.data = 0.6 * noise
        else:
            parameter.data = noise * 1.6 / parameter.shape[-1] ** 0.5
    return model.eval()


def inputs(config, seed, batch=3, length=9):
    rng = np.random.default_rng(seed)
    mel = rng.normal(0, 0.8, (batch, config.num_mel_bins, 2 * config.max_source_positions))
    tokens = rng.integers(0, config.vocab_size, (batch, length))
    mask = np.ones((batch, length), dtype=np.int64)
    mask[1, -3:] = 0  # padded at the end
    mask[2, [0, 1, 4]] = 0  # padded at the front and in the middle: row 0 may look nowhere
    tokens[mask == 0] = config.pad_token_id
    labels = rng.integers(0, config.vocab_size, (batch, length))
    labels[0, 2] = labels[1, -4:] = labels[2, 4] = -100
    return dict(mel=mel.astype(np.float32), tokens=tokens, token_mask=mask, labels=labels)


@torch.no_grad()
def forward(model, given):
    """Logits, hidden states after every block, every attention map, loss."""
    mel, tokens = torch.tensor(given["mel"]), torch.tensor(given["tokens"])
    mask, labels = torch.tensor(given["token_mask"]), torch.tensor(given["labels"])
    out, hooks = {}, []
    for side in ("encoder", "decoder"):
        for i, layer in enumerate(getattr(model.model, side).layers):

            def keep(module, args, result, name=f"{side}.blocks.{i}.hidden"):
                out[name] = result[0].clone()

            hooks.append(layer.register_forward_hook(keep))
    full = model(mel, decoder_input_ids=tokens, output_attentions=True)
    for hook in hooks:
        hook.remove()
    maps = {
        "encoder.blocks.{}.self_attention.weights": full.encoder_attentions,
        "decoder.blocks.{}.self_attention.weights": full.decoder_attentions,
        "decoder.blocks.{}.cross_attention.weights": full.cross_attentions,
    }
    for name, layers in maps.items():
        out.update({name.format(i): weights for i, weights in enumerate(layers)})
    out["logits"] = full.logits
    out["memory"] = full.encoder_last_hidden_state
    padded = model(
        mel, decoder_input_ids=tokens, decoder_attention_mask=mask, output_attentions=True
    )
    out["padded.logits"] = padded.logits
    for i, weights in enumerate(padded.decoder_attentions):
        out[f"padded.decoder.blocks.{i}.self_attention.weights"] = weights
    out["loss"] = model(mel, labels=labels).loss
    return {name: value.numpy() for name, value in out.items()}


@torch.no_grad()
def ablated(model, given):
    """Logits with heads switched off by Hugging Face's three head masks (0 = off)."""
    c = model.config
    rng = np.random.default_rng(5)
    masks = {
        "head_mask": rng.integers(0, 2, (c.encoder_layers, c.encoder_attention_heads)),
        "decoder_head_mask": rng.integers(0, 2, (c.decoder_layers, c.decoder_attention_heads)),
        "cross_attn_head_mask": rng.integers(0, 2, (c.decoder_layers, c.decoder_attention_heads)),
    }
    out = {}
    for name, mask in masks.items():
        mask[0, 0], mask[-1, -1] = 0, 1
        arguments = {name: torch.tensor(mask, dtype=torch.float32)}
        logits = model(
            torch.tensor(given["mel"]), decoder_input_ids=torch.tensor(given["tokens"]), **arguments
        ).logits
        out[f"ablated.{name}"] = logits.numpy()
        out[name] = mask
    return out


@torch.no_grad()
def greedy(model, given, generation, ways):
    mel = torch.tensor(given["mel"])
    out = {}
    for name, (changes, arguments) in ways.items():
        settings = GenerationConfig(**{**generation, **changes})
        model.generation_config = settings
        # as a dict: the plain tokens come back cut at times, here they are as they were chosen
        found = model.generate(mel, max_new_tokens=12, return_dict_in_generate=True, **arguments)
        out[f"greedy.{name}"] = found.sequences.numpy()
    model.generation_config = GenerationConfig(**generation)
    return out


def ended_early(tokens, end):
    ends = [(row == end).argmax() if (row == end).any() else len(row) for row in tokens[:, 4:]]
    return len(set(ends)) > 1


def checkpoint(name, config, generation, ways, seeds):
    """The first seed whose greedy rows end at different places, where rules matter, and where (if
    languages are heard) rows hear different ones."""
    for seed in seeds:
        model = perturbed(WhisperConfig(**config), seed)
        given = inputs(model.config, seed)
        runs = greedy(model, given, generation, ways)
        free = runs["greedy.free"]
        ruled = runs["greedy.default"]
        differ = free.shape != ruled.shape or not np.array_equal(free, ruled)
        enough = min(len(set(row.tolist())) for row in ruled) >= 6
        heard = "lang_to_id" not in generation or len(set(ruled[:, 1].tolist())) > 1
        if ended_early(ruled, config["eos_token_id"]) and differ and enough and heard:
            break
    else:
        raise SystemExit(f"{name}: no seed gave a telling model")
    folder = HERE / name
    model.generation_config = GenerationConfig(**generation)
    model.save_pretrained(folder)
    arrays = {**given, **forward(model, given), **ablated(model, given), **runs}
    if name == "whisper-a":
        arrays |= spec_augment(model, given)
    arrays["versions"] = np.array(json.dumps({
        "transformers": transformers.__version__, "torch": torch.__version__,
        "numpy": np.__version__, "seed": seed,
    }))  # fmt: skip
    np.savez_compressed(folder / "outputs.npz", **arrays)
    for key, tokens in runs.items():
        print(name, seed, key, tokens.tolist())


def spec_augment(model, given):
    """What the model hides in training under np.random.seed, in time and over mel bins."""
    config = model.config
    config.apply_spec_augment = True
    config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks = 0.3, 5, 2
    config.mask_feature_prob, config.mask_feature_length = 0.25, 6
    config.mask_feature_min_masks = 1
    mel = torch.ones_like(torch.tensor(given["mel"]))
    model.train()
    np.random.seed(7)
    hidden = model.model._mask_input_features(mel).numpy() == 0
    model.eval()
    config.apply_spec_augment = False
    batch, bins, frames = mel.shape
    np.random.seed(7)
    time = _compute_mask_indices((batch, frames), 0.3, 5, min_masks=2)
    features = _compute_mask_indices((batch, bins), 0.25, 6, min_masks=1)
    assert np.array_equal(hidden, time[:, None] | features[:, :, None])
    return {"spec_augment.mask": np.packbits(hidden), "spec_augment.shape": hidden.shape}


def rules():
    """Which tokens the logits processors leave, for random scores after many histories."""
    rng = np.random.default_rng(0)
    end, silent, vocabulary, begin = 40, 49, 62, 3
    settings = GenerationConfig(**A_GENERATION)
    histories = [
        [], [50], [52], [50, 3], [50, 3, 9], [50, 3, 52], [50, 3, 52, 52], [50, 3, 52, 54],
        [50, 3, 52, 52, 7], [50, 3, 52, 52, 7, 61], [50, 61], [3], [3, 55], [3, 4, 60, 60],
        [50, 3, 61], [50, 3, 61, 61], [53, 3, 53, 53, 8, 56],
    ]  # fmt: skip
    out = {}
    for number, history in enumerate(histories):
        tokens = np.array([[41, 43, 45, *history]] * 12)
        scores = rng.normal(0, 3, (12, vocabulary)).astype(np.float32)
        scores[::3, 50:] += 4  # times likely
        scores[1::3, 50:] -= 4
        scores[2::4, 11] += 9  # a suppressed token likely
        given = (torch.tensor(tokens), torch.tensor(scores))
        begin_rule = SuppressTokensAtBeginLogitsProcessor([5, 40, 50257], begin)
        always = SuppressTokensLogitsProcessor([3, 7, 11, 46, 47, 48])
        processors = {
            "times": [WhisperTimeStampLogitsProcessor(settings, begin)],
            "suppress": [begin_rule, always],
            "all": [begin_rule, always, WhisperTimeStampLogitsProcessor(settings, begin)],
        }
        out[f"{number}.tokens"], out[f"{number}.scores"] = tokens, scores
        for name, chain in processors.items():
            left = given[1].clone()
            for processor in chain:
                left = processor(given[0], left)
            out[f"{number}.{name}"] = torch.isfinite(left).numpy()
    out["meta"] = np.array([len(histories), end, silent, begin])
    np.savez_compressed(HERE / "generation_rules.npz", **out)


def main():
    if transformers.__version__ != VERSION:
        raise SystemExit(f"expected transformers {VERSION}, got {transformers.__version__}")
    off = dict(suppress_tokens=None, begin_suppress_tokens=None)
    a_ways = {
        "default": ({}, {}),  # hears the language itself
        "english": ({}, {"language": "en", "task": "transcribe"}),
        "german": ({}, {"language": "<|de|>", "task": "translate"}),
        "free": (off, {}),
        "times": ({}, {"language": "en", "task": "transcribe", "return_timestamps": True}),
    }
    checkpoint("whisper-a", A, A_GENERATION, a_ways, range(1391, 4000))
    checkpoint(
        "whisper-b", B, B_GENERATION, {"default": ({}, {}), "free": (off, {})}, range(15, 2000)
    )
    rules()


if __name__ == "__main__":
    main()
