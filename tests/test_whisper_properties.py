"""What must hold for every Whisper, whatever its weights: causality, cache, batch, training."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from golden_cases import assert_close, folder, inputs, outputs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import speechlib as sl
from speechlib import attention_masks
from speechlib.configs import SpecAugmentConfig
from speechlib.torch_models import transformer, whisper

torch.set_num_threads(1)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
BACKENDS = ("eager", "sdpa")


@pytest.fixture(scope="module", params=BACKENDS)
def model(request):
    return sl.load(folder("whisper-a"), attention=request.param)


def some_mel(config, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(batch, config.mel_bins, config.mel_frames, generator=generator)


tokens_strategy = st.lists(st.integers(0, 61), min_size=2, max_size=12)


# --- who may look ---------------------------------------------------------------------------------


@FEW
@given(tokens=tokens_strategy, data=st.data())
def test_the_future_does_not_move_the_past(model, tokens, data):
    place = data.draw(st.integers(1, len(tokens) - 1))
    other = [*tokens[:place], *data.draw(st.lists(st.integers(0, 61), min_size=1, max_size=5))]
    memory = model.encode(some_mel(model.config, batch=1))
    with torch.no_grad():
        one = model.decode(torch.tensor([tokens]), memory)[:, :place]
        two = model.decode(torch.tensor([other]), memory)[:, :place]
    assert_close(one, two, "logits before the change")


@FEW
@given(tokens=tokens_strategy, padding=st.integers(1, 6), filler=st.integers(0, 61))
def test_padding_and_what_it_is_filled_with_do_not_matter(model, tokens, padding, filler):
    mel = some_mel(model.config, batch=1)
    padded = torch.tensor([tokens + [filler] * padding])
    mask = torch.arange(padded.shape[1])[None] < len(tokens)
    with torch.no_grad():
        alone = model(mel, torch.tensor([tokens]))
        together = model(mel, padded, mask)[:, : len(tokens)]
    assert_close(together, alone, "real tokens")


@torch.no_grad()
def test_a_replaced_causal_mask_is_asked_at_every_step(model, monkeypatch):
    """`use` and lessons 05 and 07 put another in its place: it counts for a lone token, too."""
    tokens, memory = torch.tensor([[1, 2, 3, 4]]), model.encode(some_mel(model.config, batch=1))

    def last():
        cache = model.init_cache(1, memory=memory)
        return [model.decode(tokens[:, n : n + 1], cache=cache) for n in range(4)][-1]

    right = last()
    monkeypatch.setattr(attention_masks, "causal_mask", lambda queries, keys: torch.ones(
        len(queries), len(keys), dtype=torch.bool).tril())  # the past is forgotten
    assert (last() - right).abs().max() > 1e-3


@torch.no_grad()
def test_hidden_tokens_in_the_middle_are_not_looked_at(model):
    mel = some_mel(model.config, batch=1)
    mask = torch.tensor([[True, False, True, True]])
    with sl.trace(model, "decoder.*.self_attention.weights") as seen:
        one = model(mel, torch.tensor([[41, 5, 7, 9]]), mask)
    two = model(mel, torch.tensor([[41, 60, 7, 9]]), mask)
    assert_close(one[mask], two[mask], "real tokens")
    for weights in seen.values():
        assert weights[..., [0, 2, 3], 1].max() == 0
        assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), "rows sum to 1")


@FEW
@given(rows=st.integers(2, 5), seed=st.integers(0, 99))
def test_a_row_does_not_see_the_other_rows(model, rows, seed):
    mel = some_mel(model.config, rows, seed)
    tokens = torch.randint(0, 62, (rows, 6), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        together = model(mel, tokens)
        alone = torch.cat([model(mel[i : i + 1], tokens[i : i + 1]) for i in range(rows)])
    assert_close(together, alone, "rows")


def test_generation_does_not_depend_on_the_batch(model):
    mel = inputs(outputs("whisper-a"))[0]
    together = sl.generate(model, mel, max_tokens=10)
    for i in range(len(mel)):
        alone = sl.generate(model, mel[i : i + 1], max_tokens=10).tokens[0].tolist()
        said = together.tokens[i].tolist()
        assert said[: len(alone)] == alone
        assert set(said[len(alone) :]) <= {model.config.pad}


# --- the cache ------------------------------------------------------------------------------------


@FEW
@given(tokens=tokens_strategy, data=st.data())
def test_cached_steps_equal_one_pass(model, tokens, data):
    """In pieces of any size, with the buffers at one place in memory all along."""
    memory = model.encode(some_mel(model.config, batch=1)).detach()
    with torch.no_grad():
        whole = model.decode(torch.tensor([tokens]), memory)
        cache = model.init_cache(1, len(tokens), memory)
        places = [(c.keys.data_ptr(), c.values.data_ptr()) for c in cache.layers]
        memories = [k.data_ptr() for k, _ in cache.memory]
        parts, done = [], 0
        while done < len(tokens):
            size = data.draw(st.integers(1, len(tokens) - done))
            parts.append(model.decode(torch.tensor([tokens[done : done + size]]), cache=cache))
            done += size
    assert_close(torch.cat(parts, dim=1), whole, "cached logits")
    assert places == [(c.keys.data_ptr(), c.values.data_ptr()) for c in cache.layers]
    assert memories == [k.data_ptr() for k, _ in cache.memory]
    assert cache.length == len(tokens)


@torch.no_grad()
def test_a_full_cache_says_so(model):
    memory = model.encode(some_mel(model.config, batch=1))
    cache = model.init_cache(1, 2, memory)
    model.decode(torch.tensor([[41, 5]]), cache=cache)
    with pytest.raises(ValueError, match="2 slots"):
        model.decode(torch.tensor([[6]]), cache=cache)


@torch.no_grad()
def test_reordered_rows_go_on_as_their_new_selves(model):
    mel = some_mel(model.config, batch=3)
    memory = model.encode(mel)
    tokens = torch.tensor([[41, 1, 2], [41, 9, 8], [41, 30, 31]])
    cache = model.init_cache(3, 4, memory)
    model.decode(tokens, cache=cache)
    rows = torch.tensor([2, 2, 0])
    cache.reorder(rows)
    after = model.decode(torch.tensor([[5], [6], [7]]), cache=cache)
    full = torch.cat([tokens[rows], torch.tensor([[5], [6], [7]])], dim=1)
    assert_close(after, model.decode(full, memory[rows])[:, -1:], "after reordering")


@pytest.mark.parametrize("cache", [True, False])
def test_maps_of_generation_have_real_positions_only(model, cache):
    mel = inputs(outputs("whisper-a"))[0]
    with sl.trace(model, "*.weights") as seen:
        found = sl.generate(model, mel, max_tokens=6, rules=[], prompt=[41, 43, 49], cache=cache)
    steps = found.steps.shape[1]
    assert list(seen) == [
        *(f"encoder.blocks.{n}.self_attention.weights" for n in range(2)),
        "decoder.blocks.0.self_attention.weights",
        "decoder.blocks.0.cross_attention.weights",
        "decoder.blocks.1.self_attention.weights",
        "decoder.blocks.1.cross_attention.weights",
    ]
    batch, heads, frames = len(mel), 4, 40
    assert seen["encoder.blocks.0.self_attention.weights"].shape == (batch, heads, frames, frames)
    for layer in range(2):
        own = seen[f"decoder.blocks.{layer}.self_attention.weights"]
        cross = seen[f"decoder.blocks.{layer}.cross_attention.weights"]
        for maps, keys in ((own, range(3, 3 + steps)), (cross, [frames] * steps)):
            assert len(maps) == steps
            queries = [3] + [1] * (steps - 1) if cache else list(range(3, 3 + steps))
            for step, weights in enumerate(maps):
                assert weights.shape == (batch, heads, queries[step], keys[step])
                assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]), "rows sum to 1")


@torch.no_grad()
def test_maps_of_cached_generation_equal_one_pass(model):
    mel = inputs(outputs("whisper-a"))[0]
    with sl.trace(model, "decoder.*.weights") as steps:
        found = sl.generate(model, mel, max_tokens=6, rules=[], prompt=[41, 43, 49])
    with sl.trace(model, "decoder.*.weights") as whole:
        model(mel, found.tokens[:, :-1])
    for path, maps in steps.items():
        row = 0
        for weights in maps:
            queries, keys = weights.shape[2:]
            expected = whole[path][:, :, row : row + queries, :keys]
            assert_close(weights, expected, path)
            row += queries


# --- what goes in ---------------------------------------------------------------------------------


def test_wrong_inputs_are_named(model):
    mel, tokens = some_mel(model.config), torch.zeros(2, 3, dtype=torch.long)
    for wrong, said in (
        (mel[:, :, :-2], "80 mel frames"),
        (mel[:, :-1], "80 mel bins"),
        (mel[0], "80 mel bins"),
    ):
        with pytest.raises(ValueError, match=said):
            model(wrong, tokens)
    with pytest.raises(ValueError, match="same batch"):
        model(mel, tokens[:1])
    with pytest.raises(ValueError, match=r"\(batch, tokens\)"):
        model(mel, tokens[0])
    with pytest.raises(ValueError, match="24 tokens"):
        model(mel, torch.zeros(2, 25, dtype=torch.long))
    for outside in (-1, 62):
        with pytest.raises(ValueError, match="0 to 61"):
            model(mel, tokens + outside)
    with pytest.raises(ValueError, match="24 positions"):
        sl.generate(model, mel, max_tokens=30)
    with pytest.raises(ValueError, match="max_tokens"):
        sl.generate(model, mel, max_tokens=0)
    with pytest.raises(ValueError, match="beams"):
        sl.generate(model, mel, max_tokens=3, beams=2.5)


def test_the_last_position_can_be_used(model):
    mel = some_mel(model.config)
    found = sl.generate(model, mel, max_tokens=23, prompt=[41, 43], rules=[])
    assert found.tokens.shape[1] <= 25
    model(mel, torch.zeros(2, 24, dtype=torch.long))


@torch.no_grad()
def test_float16_that_overflows_is_cut_off():
    model = sl.load(folder("whisper-a"), dtype="float16")
    for layer in (model.encoder.blocks[0].self_attention.output,
                  model.encoder.blocks[0].feed_forward.down):  # fmt: skip
        layer.bias[0] = 60_000  # together beyond 65,504, the largest there is
    states = model.encoder.hidden_states(some_mel(model.config))
    assert states[1].max() == torch.tensor(65_504 - 1000, dtype=torch.float16)
    assert all(torch.isfinite(state).all() for state in states)


@torch.no_grad()
def test_what_a_row_hears_moves_along_with_it(model):
    memory = model.encode(some_mel(model.config))
    mask = torch.arange(memory.shape[1]) < torch.tensor([[9], [20]])
    cache = model.init_cache(2, 3, memory, mask)
    model.decode(torch.tensor([[3], [4]]), cache=cache)
    cache.reorder(torch.tensor([1, 1]))
    moved = model.decode(torch.tensor([[5], [5]]), cache=cache)
    whole = model.decode(torch.tensor([[4, 5]]), memory[1:], mask[1:])
    assert_close(moved, whole[:, 1:].expand(2, -1, -1), "row 1 twice")


# --- fresh weights --------------------------------------------------------------------------------


def wide_config(**changes):
    """Big enough for statistics of its weights."""
    config = sl.load(folder("whisper-a")).config
    blocks = dict(width=64, heads=4, feed_forward=256, dropout=0.0, attention_dropout=0.0,
                  activation_dropout=0.0)  # fmt: skip
    plain = dict(
        encoder=replace(config.encoder, **blocks),
        decoder=replace(config.decoder, **blocks),
        vocabulary=500,
        encoder_layer_drop=0.0,
        decoder_layer_drop=0.0,
    )
    return replace(config, **(plain | changes))


@pytest.mark.parametrize("std", [0.02, 0.3])
def test_initialisation_as_published(std):
    torch.manual_seed(0)
    fresh = sl.Whisper(wide_config(init_std=std))
    checked = 0
    for name, module in fresh.named_modules():
        if isinstance(module, nn.Linear | nn.Conv1d):
            weight = module.weight
            assert abs(weight.std() / std - 1) < 0.06, name
            assert abs(weight.mean()) < 4 * std / weight.numel() ** 0.5, name
            # normal, not uniform: a uniform one ends at 1.73 deviations
            assert 3 < weight.abs().max() / std < 6, name
            assert module.bias is None or (module.bias == 0).all(), name
            checked += 1
        elif isinstance(module, nn.LayerNorm):
            assert (module.weight == 1).all() and (module.bias == 0).all(), name
            checked += 1
    assert checked == 2 + 2 * (6 + 2) + 2 * (10 + 3) + 2
    table = fresh.decoder.token_embedding.weight
    assert (table[fresh.config.pad] == 0).all()
    others = table[torch.arange(500) != fresh.config.pad]
    assert abs(others.std() / std - 1) < 0.03
    assert abs(fresh.decoder.positions.weight.std() / std - 1) < 0.06
    sines = sl.position_embeddings.sinusoidal_embeddings(40, 64)
    np.testing.assert_array_equal(fresh.encoder.positions.weight.detach().numpy(), sines)
    assert not fresh.encoder.positions.weight.requires_grad


def test_keys_have_no_bias_and_the_output_layer_is_the_token_table():
    fresh = sl.Whisper(wide_config())
    for module in fresh.modules():
        if hasattr(module, "key"):
            assert module.key.bias is None and module.query.bias is not None
    names = [name for name, _ in fresh.named_parameters()]
    assert not any("proj_out" in name or "output_layer" in name for name in names)


# --- training -------------------------------------------------------------------------------------


def trained(**changes):
    torch.manual_seed(0)
    return sl.Whisper(wide_config(**changes)).train()


@pytest.mark.parametrize("name", ["gelu", "gelu_new", "relu", "silu"])
def test_activations_are_those_of_hugging_face(name):
    x = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    theirs = pytest.importorskip("transformers").activations.ACT2FN[name](x)
    torch.testing.assert_close(transformer.activation_named(name)(x), theirs)


def test_train_without_any_chance_equals_eval():
    fresh = trained()
    mel, tokens = some_mel(fresh.config), torch.randint(0, 500, (2, 6))
    assert_close(fresh(mel, tokens), fresh.eval()(mel, tokens), "train")


@pytest.mark.parametrize("side", ["encoder", "decoder"])
def test_layer_drop_leaves_out_whole_blocks_as_often_as_asked(side):
    probability, runs = 0.3, 300
    fresh = trained(**{f"{side}_layer_drop": probability})
    mel, tokens = some_mel(fresh.config, batch=1), torch.tensor([[41, 3]])
    counts = dict.fromkeys(f"{side}.blocks.{n}.hidden" for n in range(2))
    kept = {path: 0 for path in counts}
    both = 0
    other = "decoder" if side == "encoder" else "encoder"
    with torch.no_grad():
        for _ in range(runs):
            with sl.trace(fresh, "*.hidden") as seen:
                fresh(mel, tokens)
            assert all(f"{other}.blocks.{n}.hidden" in seen for n in range(2))
            for path in kept:
                kept[path] += path in seen
            both += all(path in seen for path in kept)
    deviation = (probability * (1 - probability) * runs) ** 0.5
    for count in kept.values():
        assert abs(count - runs * (1 - probability)) < 4 * deviation
    assert abs(both - runs * (1 - probability) ** 2) < 4 * deviation  # drawn for each by itself
    fresh.eval()
    with sl.trace(fresh, "*.hidden") as seen, torch.no_grad():
        fresh(mel, tokens)
    assert len(seen) == 4


@torch.no_grad()
def test_dropped_encoder_blocks_pass_on_what_came_in():
    fresh = trained(encoder_layer_drop=1.0)
    mel = some_mel(fresh.config)
    x = nn.functional.gelu(fresh.encoder.conv1(mel))
    x = nn.functional.gelu(fresh.encoder.conv2(x)).transpose(1, 2)
    expected = fresh.encoder.norm(x + fresh.encoder.positions.weight)
    assert_close(fresh.encode(mel), expected, "no block at all")


@torch.no_grad()
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["dropout", "attention_dropout", "activation_dropout"])
def test_dropout_is_on_in_training_only_and_keeps_the_mean(kind, backend):
    config = wide_config(init_std=0.1).with_attention(backend)
    config = replace(
        config,
        encoder=replace(config.encoder, **{kind: 0.25}),
        decoder=replace(config.decoder, **{kind: 0.25}),
    )
    torch.manual_seed(0)
    fresh = sl.Whisper(config)
    x = torch.randn(1, 6, 64)
    block = fresh.encoder.blocks[0].train()
    many = torch.stack([block(x) for _ in range(600)])
    assert many.std(dim=0).min() > 0 or kind != "dropout"
    assert many.std(dim=0).mean() > 1e-3
    block.eval()
    assert torch.equal(block(x), block(x))
    if kind == "dropout":  # the last thing before the sum: its mean is the undropped value
        part = fresh.encoder.blocks[1].train()
        drawn = torch.stack([part.dropout(x) for _ in range(2000)])
        assert_close(drawn.mean(dim=0), x, "mean", tolerance=0.05)
        share = (drawn == 0).float().mean().item()
        assert abs(share - 0.25) < 0.01


@torch.no_grad()
def test_attention_dropout_drops_a_quarter_of_the_weights_and_scales_the_rest():
    from speechlib.torch_models.attention import eager

    torch.manual_seed(0)
    query, key, value = torch.randn(3, 4, 4, 50, 8)
    identity = torch.eye(50).expand(4, 4, 50, 50)
    kept = eager(query, key, identity, dropout=0.0)
    dropped = eager(query, key, identity, dropout=0.25)  # the weights themselves come out
    gone = dropped == 0
    assert abs(gone.float().mean() - 0.25) < 0.01
    assert_close(dropped[~gone], kept[~gone] / 0.75, "kept weights")
    assert value.shape == query.shape


def augmented(**changes):
    return trained(spec_augment=SpecAugmentConfig(**changes))


@torch.no_grad()
def test_spec_augment_hides_whole_columns_and_rows_with_zeros():
    c = SpecAugmentConfig(
        time_probability=0.3, time_length=5, time_min_spans=2,
        feature_probability=0.2, feature_length=4, feature_min_spans=1,
    )  # fmt: skip
    torch.manual_seed(1)
    mel = torch.rand(3, 80, 200) + 1
    hidden = whisper.hide_spans(mel, c) == 0
    columns, rows = hidden.all(dim=1), hidden.all(dim=2)  # (batch, frames), (batch, mel bins)
    assert torch.equal(hidden, columns[:, None] | rows[:, :, None])
    for mask, length in ((columns, 5), (rows, 4)):
        for row in mask.numpy():
            edges = np.flatnonzero(np.diff(np.concatenate([[0], row, [0]])))
            spans = edges[1::2] - edges[::2]
            assert len(spans) and (spans >= length).all()  # spans that touch are longer
    kept = ~hidden
    assert torch.equal(whisper.hide_spans(mel * 0 + 1, c).unique(), torch.tensor([0.0, 1.0]))
    assert torch.equal((mel * kept)[kept], mel[kept])


@torch.no_grad()
def test_features_have_a_least_number_of_spans_of_their_own():
    c = SpecAugmentConfig(
        time_probability=0.0, time_min_spans=0, feature_probability=1e-6, feature_length=4,
        feature_min_spans=2,
    )  # fmt: skip
    rows = (whisper.hide_spans(torch.ones(3, 80, 20), c) == 0).all(dim=2).sum(dim=1)
    assert ((rows > 4) & (rows <= 8)).all()


@torch.no_grad()
def test_spec_augment_hides_real_frames_only():
    c = SpecAugmentConfig(time_probability=0.5, time_length=5, time_min_spans=2)
    lengths = torch.tensor([200, 90, 40])
    real = torch.arange(200) < lengths[:, None]
    hidden = (whisper.hide_spans(torch.ones(3, 80, 200), c, lengths) == 0).all(1)
    assert not (hidden & ~real).any()
    assert (hidden & real).any(1).all()


@torch.no_grad()
def test_lengths_steer_the_loss_in_training_alone():
    model = augmented(time_probability=0.5, time_length=4)
    mel, labels = some_mel(model.config), torch.tensor([[5, 6, 7], [8, 9, -100]])
    lengths = torch.tensor([80, 30])
    torch.manual_seed(3)
    seen = model.loss(mel, labels, lengths)
    torch.manual_seed(3)
    heard = whisper.hide_spans(mel, model.config.spec_augment, lengths)
    model.eval()
    assert_close(seen, model.loss(heard, labels), "spans over real frames")
    assert_close(model.loss(mel, labels, lengths), model.loss(mel, labels), "none are hidden")
    with pytest.raises(ValueError, match="lengths must lie in 1 to 80"):
        model.loss(mel, labels, [80, 81])


@torch.no_grad()
def test_spec_augment_share_seed_and_switches():
    fresh = augmented(time_probability=0.2, time_length=4)
    mel = torch.ones(40, 80, 80)
    torch.manual_seed(3)
    one = whisper.hide_spans(mel, fresh.config.spec_augment)
    again = whisper.hide_spans(mel, fresh.config.spec_augment)
    torch.manual_seed(3)
    assert torch.equal(whisper.hide_spans(mel, fresh.config.spec_augment), one)
    assert not torch.equal(one, again)
    # at most a fifth of the frames; less, as spans may overlap
    assert 0.12 < (one == 0).float().mean() <= 0.2
    real = some_mel(fresh.config)
    torch.manual_seed(3)
    seen = fresh.encode(real)
    torch.manual_seed(3)
    expected = fresh.encoder(whisper.hide_spans(real, fresh.config.spec_augment))
    assert_close(seen, expected, "training hides before the encoder")
    fresh.eval()
    assert_close(fresh.encode(real), fresh.encoder(real), "nothing is hidden in eval")
    plain = trained()
    assert_close(plain.encode(real), plain.encoder(real), "nothing is hidden when not asked")


def test_every_parameter_learns():
    fresh = trained()
    labels = torch.randint(0, 500, (2, 7))
    labels[1, 4:] = -100
    fresh.loss(some_mel(fresh.config), labels).backward()
    for name, parameter in fresh.named_parameters():
        if name == "encoder.positions.weight":
            assert parameter.grad is None
        else:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    assert fresh.decoder.positions.weight.grad[:7].abs().sum(dim=1).all()  # every place of them


def test_a_few_steps_bring_the_loss_down():
    fresh = trained()
    mel, labels = some_mel(fresh.config), torch.randint(0, 500, (2, 7))
    optimiser = torch.optim.AdamW([p for p in fresh.parameters() if p.requires_grad], lr=3e-3)
    first = None
    for _ in range(30):
        loss = fresh.loss(mel, labels)
        first = first or loss.item()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert abs(first - np.log(500)) < 0.3  # fresh: as good as guessing
    assert loss.item() < 0.2 * first


# --- seeing and editing ---------------------------------------------------------------------------


@torch.no_grad()
def test_tracing_changes_nothing_and_leaves_nothing(model):
    mel, tokens, _, _ = inputs(outputs("whisper-a"))
    before = model(mel, tokens)
    with sl.trace(model, "*") as seen:
        during = model(mel, tokens)
    count = len(seen)
    after = model(mel, tokens)
    assert_close(during, before, "traced")
    assert torch.equal(after, before)
    assert len(seen) == count


@torch.no_grad()
def test_an_edit_of_another_shape_is_refused_and_named(model):
    mel, tokens, _, _ = inputs(outputs("whisper-a"))
    edit = {"decoder.blocks.1.cross_attention.weights": lambda weights: weights[..., :3]}
    with pytest.raises(ValueError, match=r"decoder\.blocks\.1\.cross_attention"):
        with sl.trace(model, "*.weights", edit=edit):
            model(mel, tokens)
    assert_close(model(mel, tokens), model(mel, tokens), "usable after the error")


@torch.no_grad()
def test_a_bare_part_is_traced_by_its_own_paths(model):
    mel, _, _, _ = inputs(outputs("whisper-a"))
    with sl.trace(model.encoder, "*.weights") as seen:
        model.encoder(mel)
    assert list(seen) == [f"blocks.{n}.self_attention.weights" for n in range(2)]
