"""Whisper against Hugging Face: goldens of transformers 4.46.3, and 5.x live as second witness.

Everything within 1e-5 of max(1, largest value), with both attention backends, padded and not.
"""

import json
import shutil

import numpy as np
import pytest
import torch
from golden_cases import NAMES, assert_close, folder, inputs, outputs

import speechlib as sl
from speechlib import spec_augment
from speechlib.torch_models import generation

torch.set_num_threads(1)
BACKENDS = ("eager", "sdpa", "flash")


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def golden(name):
    return outputs(name)


@pytest.fixture(scope="module", params=BACKENDS)
def model(request, name):
    return sl.load(folder(name), attention=request.param)


@torch.no_grad()
def test_logits_and_memory(model, golden):
    mel, tokens, mask, _ = inputs(golden)
    assert_close(model.encode(mel), golden["memory"], "memory")
    assert_close(model(mel, tokens), golden["logits"], "logits")
    everything = torch.ones_like(mask)
    assert_close(model(mel, tokens, everything), golden["logits"], "logits, all tokens real")


@torch.no_grad()
def test_padded_logits_on_real_tokens(model, golden):
    """Padding at the end, at the front and in the middle; padded places themselves are finite."""
    mel, tokens, mask, _ = inputs(golden)
    logits = model(mel, tokens, mask)
    assert torch.isfinite(logits).all()
    assert_close(logits[mask], golden["padded.logits"][mask.numpy()], "padded logits")
    unmasked = model(mel, tokens)
    assert (logits[2] - unmasked[2])[mask[2]].abs().max() > 1e-2  # the mask does something


@torch.no_grad()
def test_every_map_and_hidden_state(model, golden):
    mel, tokens, _, _ = inputs(golden)
    with sl.trace(model, "*") as seen:
        logits = model(mel, tokens)
    assert_close(logits, golden["logits"], "traced logits")
    expected = {n for n in golden if n.endswith((".weights", ".hidden")) and "padded" not in n}
    assert set(seen) == expected  # nothing else is called so, and nothing is missing
    for path in seen:
        assert_close(seen[path], golden[path], path)


@torch.no_grad()
def test_maps_under_padding(model, golden):
    mel, tokens, mask, _ = inputs(golden)
    with sl.trace(model, "decoder.*.self_attention.weights") as seen:
        model(mel, tokens, mask)
    assert len(seen) == model.config.decoder_layers
    for path, weights in seen.items():
        theirs = golden[f"padded.{path}"]
        rows = mask[:, None, :, None].expand(weights.shape).numpy()  # queries that are real
        assert_close(weights.numpy()[rows], theirs[rows], path)


def test_loss(model, golden):
    mel, _, _, labels = inputs(golden)
    assert_close(model.loss(mel, labels), golden["loss"], "loss")


@torch.no_grad()
@pytest.mark.parametrize(
    "argument, pattern",
    [
        ("head_mask", "encoder.blocks.{}.self_attention.weights"),
        ("decoder_head_mask", "decoder.blocks.{}.self_attention.weights"),
        ("cross_attn_head_mask", "decoder.blocks.{}.cross_attention.weights"),
    ],
)
def test_edited_heads_equal_head_masks(model, golden, argument, pattern):
    mel, tokens, _, _ = inputs(golden)
    edit = {}
    for layer, row in enumerate(golden[argument]):
        keep = torch.tensor(row, dtype=torch.float32)[:, None, None]
        edit[pattern.format(layer)] = lambda weights, keep=keep: weights * keep
    with sl.trace(model, "nothing", edit=edit):
        logits = model(mel, tokens)
    assert_close(logits, golden[f"ablated.{argument}"], argument)
    assert np.abs(logits.numpy() - golden["logits"]).max() > 1e-2
    assert_close(model(mel, tokens), golden["logits"], "afterwards nothing is edited")


def greedy(model, golden, way, cache):
    """Our tokens for one golden run."""
    mel = inputs(golden)[0]
    if way == "free":
        return sl.generate(model, mel, max_tokens=12, rules=[], cache=cache)
    if way == "default":
        return sl.generate(model, mel, max_tokens=12, cache=cache)
    asked = {
        "english": dict(language="en", task="transcribe"),
        "german": dict(language="de", task="translate"),
        "times": dict(language="en", task="transcribe", timestamps=True),
    }[way]
    prompt = generation.own_prompt(model, model.encode(mel), **asked)
    rules = None
    if way == "times":
        from speechlib import generation_rules

        rules = generation_rules.rules_of(generation.settings_of(model), timestamps=True)
    return sl.generate(model, mel, max_tokens=12, prompt=prompt, rules=rules, cache=cache)


@pytest.mark.parametrize("cache", [True, False])
def test_greedy_tokens(model, golden, cache):
    ways = [key.removeprefix("greedy.") for key in golden if key.startswith("greedy.")]
    assert "default" in ways and "free" in ways
    for way in ways:
        found = greedy(model, golden, way, cache)
        np.testing.assert_array_equal(found.tokens.numpy(), golden[f"greedy.{way}"], err_msg=way)
        assert found.steps.shape[1] == found.tokens.shape[1] - prompt_length(golden, way)
        assert_close(found.steps.sum(dim=1), found.scores, "scores")


def prompt_length(golden, way):
    if "greedy.times" not in golden:
        return 3
    return {"default": 3, "free": 3, "times": 3}.get(way, 4)


@torch.no_grad()
def test_greedy_scores_are_the_chosen_tokens_log_probabilities(model, golden):
    mel = inputs(golden)[0]
    found = sl.generate(model, mel, max_tokens=12, rules=[])
    logits = model(mel, found.tokens[:, :-1]).log_softmax(-1)
    chosen = logits.gather(-1, found.tokens[:, 1:, None])[..., 0][:, 2:]
    ended = (found.tokens[:, 3:-1] == model.config.end).cumsum(dim=1) > 0
    after = torch.cat([torch.zeros(len(mel), 1, dtype=torch.bool), ended], dim=1)
    assert_close(found.steps, chosen.masked_fill(after, 0.0), "steps")


def test_generation_settings_kept_in_config_json(golden, name, tmp_path):
    """Folders from before generation_config.json keep suppressed and forced tokens in config."""
    if name == "whisper-a":
        return  # its language table never lived in config.json
    for file in ("config.json", "model.safetensors"):
        shutil.copy(folder(name) / file, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    settings = json.loads((folder(name) / "generation_config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | settings))
    found = greedy(sl.load(tmp_path), golden, "default", cache=True)
    np.testing.assert_array_equal(found.tokens.numpy(), golden["greedy.default"])


def test_spec_augment_draws_as_hugging_face():
    golden = outputs("whisper-a")
    shape = golden["spec_augment.shape"]
    hidden = np.unpackbits(golden["spec_augment.mask"], count=shape.prod()).reshape(shape) == 1
    rng = np.random.RandomState(7)  # what np.random.seed(7) draws
    batch, bins, frames = shape.tolist()
    time = spec_augment.span_mask((batch, frames), 0.3, 5, min_spans=2, rng=rng)
    features = spec_augment.span_mask((batch, bins), 0.25, 6, min_spans=1, rng=rng)
    np.testing.assert_array_equal(time[:, None, :] | features[:, :, None], hidden)


# --- transformers 5.x, live ---------------------------------------------------------------------

SIZES = [
    dict(),
    dict(encoder_layers=1, decoder_layers=3, decoder_attention_heads=3, d_model=24),
    dict(num_mel_bins=128, vocab_size=67, activation_function="relu", scale_embedding=True),
    dict(encoder_ffn_dim=20, decoder_ffn_dim=36, max_source_positions=11, dropout=0.2),
]


@pytest.fixture(scope="module", params=range(len(SIZES)), ids=lambda n: f"size{n}")
def live(request, tmp_path_factory):
    """A random checkpoint that transformers 5.x wrote, and its model."""
    transformers = pytest.importorskip("transformers")
    sizes = dict(
        vocab_size=53, num_mel_bins=80, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=40,
        decoder_ffn_dim=40, max_source_positions=16, max_target_positions=20, pad_token_id=50,
        bos_token_id=50, eos_token_id=50, decoder_start_token_id=51,
    ) | SIZES[request.param]  # fmt: skip
    torch.manual_seed(request.param)
    config = transformers.WhisperConfig(**sizes)
    theirs = transformers.WhisperForConditionalGeneration(config).eval()
    theirs.set_attn_implementation("eager")
    for parameter in theirs.parameters():
        if parameter.requires_grad:  # all but the sinusoids
            parameter.data += 0.25 * torch.randn_like(parameter)
    path = tmp_path_factory.mktemp("live")
    theirs.generation_config = transformers.GenerationConfig(
        decoder_start_token_id=51, eos_token_id=50, pad_token_id=50, bos_token_id=50,
        suppress_tokens=[2, 9, 51, 52], begin_suppress_tokens=[50],
    )  # fmt: skip
    theirs.save_pretrained(path)
    mel = torch.randn(3, config.num_mel_bins, 2 * config.max_source_positions)
    tokens = torch.randint(0, 50, (3, 7))
    mask = torch.ones(3, 7, dtype=torch.bool)
    mask[1, 5:] = False
    mask[2, 2] = False
    return theirs, path, mel, tokens, mask


@torch.no_grad()
def expected_of(theirs, mel, tokens, mask=None):
    return theirs(
        mel,
        decoder_input_ids=tokens,
        decoder_attention_mask=None if mask is None else mask.long(),
        output_attentions=True,
        output_hidden_states=True,
    )


@torch.no_grad()
@pytest.mark.parametrize("backend", BACKENDS)
def test_live_logits_maps_and_loss(live, backend):
    theirs, path, mel, tokens, mask = live
    ours = sl.load(path, attention=backend)
    expected = expected_of(theirs, mel, tokens)
    with sl.trace(ours, "*") as seen:
        assert_close(ours(mel, tokens), expected.logits, "logits")
    kinds = {
        "encoder.blocks.{}.self_attention.weights": expected.encoder_attentions,
        "decoder.blocks.{}.self_attention.weights": expected.decoder_attentions,
        "decoder.blocks.{}.cross_attention.weights": expected.cross_attentions,
    }
    for kind, layers in kinds.items():
        for layer, weights in enumerate(layers):
            assert_close(seen[kind.format(layer)], weights, kind.format(layer))
    # theirs: the input first, then the blocks, the last one after the final norm
    for layer, hidden in enumerate(expected.encoder_hidden_states[1:-1]):
        assert_close(seen[f"encoder.blocks.{layer}.hidden"], hidden, f"encoder hidden {layer}")
    padded = expected_of(theirs, mel, tokens, mask).logits
    assert_close(ours(mel, tokens, mask)[mask], padded[mask], "padded logits")
    labels = tokens.masked_fill(~mask, -100)
    assert_close(ours.loss(mel, labels), theirs(mel, labels=labels).loss, "loss")


@torch.no_grad()
def test_live_greedy(live):
    theirs, path, mel, _, _ = live
    expected = theirs.generate(mel, max_new_tokens=10).tolist()
    found = sl.generate(sl.load(path), mel, max_tokens=10).tokens
    for row, said in zip(expected, found.tolist(), strict=True):
        # 5.x leaves out what it put before or after the text: start token, end, padding
        assert trimmed(row) == trimmed(said)


def trimmed(tokens, start=51, end=50):
    tokens = tokens[1:] if tokens and tokens[0] == start else tokens
    return tokens[: tokens.index(end)] if end in tokens else tokens


@torch.no_grad()
def test_transformers_reads_what_we_save(live, tmp_path):
    transformers = pytest.importorskip("transformers")
    theirs, path, mel, tokens, _ = live
    ours = sl.load(path)
    sl.save(ours, tmp_path)
    again, report = transformers.WhisperForConditionalGeneration.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not any(report.get(k) for k in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    logits = again.eval()(mel, decoder_input_ids=tokens).logits
    assert_close(logits, expected_of(theirs, mel, tokens).logits, "logits after our save")
    assert again.generation_config.suppress_tokens == [2, 9, 51, 52]


@torch.no_grad()
def test_bare_model(live, tmp_path):
    """WhisperModel: the same tensors without the `model.` in front."""
    theirs, _, mel, tokens, _ = live
    theirs.model.save_pretrained(tmp_path)
    expected = expected_of(theirs, mel, tokens)
    ours = sl.load(tmp_path)
    assert_close(ours.encode(mel), expected.encoder_last_hidden_state, "memory")
    assert_close(ours(mel, tokens), expected.logits, "logits by the token table")
    config = json.loads((tmp_path / "config.json").read_text())
    config.pop("architectures")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_close(sl.load(tmp_path).encode(mel), expected.encoder_last_hidden_state, "memory")
