"""What WavLM must do whatever its weights: batches, padding, training, errors, fresh weights."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from golden_cases import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import speechlib as sl
from speechlib.configs import BlockConfig, SpecAugmentConfig, WavLMConfig
from speechlib.torch_models import gated_attention

torch.set_num_threads(1)
QUIET = SpecAugmentConfig(time_probability=0.0)


def config(**changes):
    """A tiny config without chance; `block` takes changes too."""
    block = dict(width=24, heads=4, feed_forward=20, norm_first=False) | changes.pop("block", {})
    sizes = dict(
        block=BlockConfig(**block), layers=2, buckets=8, max_distance=12, conv_widths=(8, 10),
        conv_kernels=(10, 3), conv_strides=(5, 2), conv_norm="layer", position_kernel=6,
        position_groups=4, layer_drop=0.0, spec_augment=QUIET,
    ) | changes  # fmt: skip
    return WavLMConfig(**sizes)


def fresh(seed=0, **changes):
    torch.manual_seed(seed)
    model = sl.WavLM(config(**changes))
    for name, parameter in model.named_parameters():
        if "weight" in name and parameter.dim() > 1:
            parameter.data += 0.2 * torch.randn_like(parameter)
    return model


def wave(batch=2, samples=300, seed=1):
    return torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


# --- batches and padding -------------------------------------------------------------------------


@torch.no_grad()
@settings(max_examples=25, deadline=None)
@given(
    lengths=st.lists(st.integers(20, 300), min_size=1, max_size=4),
    more=st.integers(0, 90),
    buckets=st.sampled_from([0, 8]),
    norm_first=st.booleans(),
    adapter=st.booleans(),
    seed=st.integers(0, 5),
)
def test_rows_do_not_know_of_each_other_nor_of_padding(
    lengths, more, buckets, norm_first, adapter, seed
):
    model = fresh(
        seed, buckets=buckets, block=dict(norm_first=norm_first), adapter=adapter, adapter_layers=1
    ).eval()
    rows = [wave(1, length, seed=i) for i, length in enumerate(lengths)]
    batch = torch.full((len(rows), max(lengths) + more), 7.0)  # whatever stands in the padding
    for row, values in zip(batch, rows, strict=True):
        row[: values.shape[1]] = values[0]
    states = model.hidden_states(batch, lengths)
    for i, values in enumerate(rows):
        for together, alone in zip(states, model.hidden_states(values), strict=True):
            assert_close(together[i, : alone.shape[1]], alone[0], "hidden state")
    output = model(batch, lengths)
    mask = model.frame_mask(lengths, output.shape[1])
    assert mask.sum(1).tolist() == [int(model.output_lengths(n)) for n in lengths]
    if not adapter:  # its convolutions see the frames after the last one
        for i, values in enumerate(rows):
            assert_close(output[i][mask[i]], model(values)[0], "output")


@torch.no_grad()
def test_the_group_norm_front_end_hears_padding():
    """The leak of the published base models, kept for parity: documented in wavlm.py."""
    model = fresh(conv_norm="group").eval()
    row = wave(1, 200)
    padded = torch.cat([row, torch.zeros(1, 100)], dim=1)
    alone, together = model(row), model(padded, [200])
    assert (together[:, : alone.shape[1]] - alone).abs().max() > 1e-2
    twice = model(torch.cat([padded, padded]), [200, 200])
    assert_close(twice[1], together[0], "rows are still apart")


@torch.no_grad()
def test_backends_agree_and_a_head_can_be_switched_off():
    for buckets in (0, 8):
        eager = fresh(buckets=buckets, block=dict(attention="eager")).eval()
        fused = fresh(buckets=buckets, block=dict(attention="sdpa")).eval()
        x, lengths = wave(3), torch.tensor([300, 120, 31])
        tiled = fresh(buckets=buckets, block=dict(attention="flash")).eval()
        assert_close(fused(x, lengths), eager(x, lengths), "sdpa")
        assert_close(tiled(x, lengths), eager(x, lengths), "flash")
        keep = torch.tensor([1.0, 1, 0, 1])[:, None, None]
        edit = {"blocks.1.*.weights": lambda w, keep=keep: w * keep}
        with sl.trace(fused, "nothing", edit=edit):
            without = fused(x)
        width = fused.config.width
        fused.blocks[1].self_attention.output.weight[:, width // 2 : 3 * width // 4] = 0
        assert_close(without, fused(x), "the same as that head's output weights at 0")


# --- the bias by distance ------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(frames=st.integers(1, 60), buckets=st.integers(2, 20), reach=st.integers(11, 40))
def test_the_bias_is_the_table_looked_up_by_distance(frames, buckets, reach):
    bias = gated_attention.DistanceBias(2 * buckets, 3, reach)
    rows = sl.position_embeddings.relative_position_buckets(frames, frames, 2 * buckets, reach)
    expected = bias.weight[torch.from_numpy(rows)].permute(2, 0, 1)
    assert torch.equal(bias(frames), expected)


def test_only_the_first_block_has_distances_and_every_block_its_gate():
    names = [name for name, _ in fresh(layers=3).named_parameters()]
    assert [n for n in names if "distance_bias" in n] == [
        "blocks.0.self_attention.distance_bias.weight"
    ]
    assert sum(n.endswith("gate_scale") for n in names) == 3
    plain = [name for name, _ in fresh(buckets=0).named_parameters()]
    assert not [n for n in plain if "gate" in n or "distance" in n]


@torch.no_grad()
def test_the_gate_reads_what_comes_in():
    """Not the queries: their weights do not change it. It lies between 1 and 3 at scale 1."""
    attention = fresh().blocks[0].self_attention
    x = wave(2, 5 * 24).view(2, 5, 24)
    before = attention.gates(x)
    assert before.shape == (2, 4, 5, 1) and 1 < before.min() and before.max() < 3
    attention.query.weight.zero_()
    assert torch.equal(attention.gates(x), before)


# --- training ------------------------------------------------------------------------------------


def count_runs(model, times):
    """How often each block ran in `times` forwards in train()."""
    runs = [0] * len(model.blocks)
    for i, block in enumerate(model.blocks):
        block.register_forward_hook(lambda *_, i=i: runs.__setitem__(i, runs[i] + 1))
    with torch.no_grad():
        for _ in range(times):
            model(wave(1, 60))
    return runs


@pytest.mark.parametrize("buckets", [8, 0])
def test_layer_drop(buckets):
    """Never the block that makes the bias; without a bias the first one is a block like others."""
    torch.manual_seed(4)
    model = fresh(buckets=buckets, layers=3, layer_drop=0.3).train()
    first, *others = count_runs(model, 300)
    assert first == 300 if buckets else 180 < first < 240
    assert all(180 < runs < 240 for runs in others)  # 210 expected, standard deviation 8
    assert count_runs(fresh(layer_drop=1.0).train(), 5) == [5, 0]
    assert count_runs(fresh(layer_drop=1.0).eval(), 5) == [5, 5]


def test_layer_drop_in_the_adapter():
    model = fresh(adapter=True, layer_drop=0.5, adapter_layers=3, adapter_stride=2).train()
    torch.manual_seed(0)
    counts = {model(wave(1)).shape[1] for _ in range(60)}
    assert counts == {29, 15, 8, 4}
    assert model.eval()(wave(1)).shape[1] == 4


def seen_frames(model, x, lengths=None):
    """The frames as they come out of `_hidden_spans`, and as they went in."""
    kept = {}
    inner = type(model)._hidden_spans

    def spy(frames, *more):
        kept["in"], kept["out"] = frames, inner(model, frames, *more)
        return kept["out"]

    object.__setattr__(model, "_hidden_spans", spy)
    with torch.no_grad():
        model(x, lengths)
    object.__delattr__(model, "_hidden_spans")
    return kept["in"], kept["out"]


def test_spec_augment_hides_real_frames_only_and_features():
    augment = SpecAugmentConfig(
        time_probability=0.4, time_length=3, time_min_spans=0, feature_probability=0.2,
        feature_length=4,
    )  # fmt: skip
    model = fresh(spec_augment=augment).train()
    lengths = torch.tensor([300, 160, 60])
    torch.manual_seed(0)
    shares, features = [], []
    for _ in range(40):
        before, after = seen_frames(model, wave(3), lengths)
        gone = (after == 0).all(dim=1, keepdim=True)  # (batch, 1, width)
        vector = (after == model.mask_embedding).logical_or(gone).all(dim=2)
        same = (after == before).logical_or(gone).all(dim=2)
        assert (vector | same).all()  # nothing but the vector, 0, and what was there
        real = model.frame_mask(lengths, before.shape[1])
        assert not vector[~real].any()
        shares.append([vector[i][real[i]].float().mean() for i in range(3)])
        features.append(gone.float().mean())
    # spans overlap a little: 0.36, 0.37 and 0.41 are expected, four standard deviations allowed
    apart = np.abs(np.mean(shares, axis=0) - [0.36, 0.37, 0.41])
    assert (apart < [0.03, 0.03, 0.18]).all()
    assert 0.15 < np.mean(features) < 0.23  # 0.19 expected
    before, after = seen_frames(model.eval(), wave(3), lengths)
    assert torch.equal(before, after)


def test_one_seed_repeats_a_training_run():
    augment = SpecAugmentConfig(time_probability=0.4, time_length=3)
    model = fresh(spec_augment=augment, block=dict(dropout=0.1)).train()
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        np.random.seed(0)
        runs.append(model(wave()))
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


def test_features_have_a_least_number_of_spans_of_their_own():
    augment = SpecAugmentConfig(
        time_probability=0.0, time_min_spans=0, feature_probability=1e-6, feature_length=4,
        feature_min_spans=2,
    )  # fmt: skip
    before, after = seen_frames(fresh(spec_augment=augment).train(), wave())
    gone = ((after == 0) & (before != 0)).all(dim=1).sum(dim=1)  # (batch,) features
    assert ((gone > 4) & (gone <= 8)).all()


def test_frames_that_are_named_are_the_only_ones_hidden():
    """As pre-training needs it: the loss is about these frames, so no others are drawn."""
    augment = SpecAugmentConfig(time_probability=0.4, time_length=3)
    model, hidden = fresh(spec_augment=augment), torch.zeros(2, 29, dtype=torch.bool)
    hidden[0, 4:9] = True
    with torch.no_grad():
        quiet = model.hidden_states(wave(), hidden=hidden)[0]
        torch.testing.assert_close(model.train().hidden_states(wave(), hidden=hidden)[0], quiet)
        plain = model.eval().hidden_states(wave())[0]
        assert not torch.equal(plain, quiet)
        model.config = dataclasses.replace(model.config, apply_spec_augment=False)
        assert torch.equal(model.hidden_states(wave(), hidden=hidden)[0], plain)  # as Hugging Face


def test_masking_can_be_switched_off_and_needs_room():
    augment = SpecAugmentConfig(time_probability=0.9, time_length=50)
    model = fresh(spec_augment=augment, apply_spec_augment=False).train()
    assert hasattr(model, "mask_embedding")  # as in Hugging Face: it is there though not used
    before, after = seen_frames(model, wave())
    assert torch.equal(before, after)
    with pytest.raises(ValueError, match="span length from 1 to the size of a row, 29, came 50"):
        fresh(spec_augment=augment).train()(wave())


@pytest.mark.parametrize(
    "path, changes",
    [
        ("projection", dict(projection_dropout=0.4)),
        ("dropout", dict(block=dict(dropout=0.4))),
        ("blocks.0.feed_forward.dropout", dict(block=dict(activation_dropout=0.4))),
    ],
)
def test_dropouts_are_where_they_belong(path, changes):
    model = fresh(**changes).train()
    got = []
    model.get_submodule(path).register_forward_hook(lambda m, x, y: got.append(y))
    model(wave(4))
    assert abs((got[0] == 0).float().mean() - 0.4) < 0.03
    assert (model.eval()(wave(4)) == model(wave(4))).all()


def test_attention_dropout_leaves_the_mean():
    model = fresh(block=dict(attention_dropout=0.3)).train()
    attention = model.blocks[0].self_attention
    x = wave(1, 30 * 24).view(1, 30, 24)
    bias = attention.distance_bias(30)

    def look():
        return attention(x, attention.keys_values(x), None, bias)

    with torch.no_grad():
        mean = torch.stack([look() for _ in range(800)]).mean(0)
        model.eval()
        assert_close(mean, look(), "mean over dropouts", 0.1)
        assert torch.equal(look(), look())


@pytest.mark.parametrize("buckets", [8, 0])
def test_checkpointed_gradients_are_equal(buckets):
    gradients = []
    for wish in (False, True):
        model = fresh(buckets=buckets, layer_drop=0.2, block=dict(dropout=0.2), layers=3).train()
        model.checkpointing = wish
        torch.manual_seed(3)
        model(wave(), [300, 200]).square().mean().backward()
        gradients.append({n: p.grad for n, p in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert (gradient is None) == (gradients[1][name] is None), name
        if gradient is not None:
            assert_close(gradients[1][name], gradient, name)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_blocks_run_again_on_the_way_back_when_asked(checkpointing):
    model, runs = fresh().train(), []
    model.checkpointing = checkpointing
    model.blocks[1].feed_forward.register_forward_hook(lambda *_: runs.append(1))
    model(wave()).sum().backward()
    assert len(runs) == 1 + checkpointing


def test_freezing_the_front_end():
    model = fresh().train()
    model.freeze_feature_encoder()
    x = wave().requires_grad_()
    model(wave()).sum().backward()
    assert all(p.grad is None for p in model.front.parameters())
    assert all(p.grad is not None for p in model.projection.parameters())
    assert x.grad is None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [p.clone() for p in model.front.parameters()]
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, model.front.parameters(), strict=True))


# --- fresh weights -------------------------------------------------------------------------------


def spread(parameter):
    return float(parameter.detach().std()), float(parameter.detach().mean())


def test_fresh_weights_are_as_published():
    torch.manual_seed(0)
    model = sl.WavLM(
        config(
            block=dict(width=128, heads=4, feed_forward=256), conv_widths=(64, 96), conv_bias=True,
            position_kernel=16, init_std=0.05, spec_augment=SpecAugmentConfig(), buckets=320,
            adapter=True, adapter_width=64, max_distance=800,
        )
    )  # fmt: skip
    block = model.blocks[1]
    for linear in (
        *(block.self_attention.query, block.self_attention.key, block.self_attention.value),
        *(block.self_attention.output, block.feed_forward.up, block.feed_forward.down),
        model.adapter.projection,
    ):
        std, mean = spread(linear.weight)
        assert abs(std / 0.05 - 1) < 0.05 and abs(mean) < 0.005
        assert (linear.bias == 0).all()
    assert 0.03 < spread(block.self_attention.gate.weight)[0] < 0.07
    for conv in (*(layer.conv for layer in model.front.layers), *model.adapter.layers):
        inputs = conv.weight[0].numel()
        assert abs(spread(conv.weight)[0] / math.sqrt(2 / inputs) - 1) < 0.1  # He et al. 2015
        assert conv.bias.abs().max() <= inputs**-0.5
        assert abs(spread(conv.bias)[0] / (inputs**-0.5 / math.sqrt(3)) - 1) < 0.25
    linear = model.projection.linear
    for values in (linear.weight, linear.bias):
        assert values.abs().max() <= 96**-0.5
        assert abs(spread(values)[0] / (96**-0.5 / math.sqrt(3)) - 1) < 0.2
    assert abs(spread(linear.weight)[0] / (96**-0.5 / math.sqrt(3)) - 1) < 0.04
    positions = model.positions
    assert abs(spread(positions.direction)[0] / (2 / math.sqrt(16 * 128)) - 1) < 0.05
    assert_close(positions.size, positions.direction.norm(dim=(0, 1), keepdim=True), "sizes")
    assert (positions.bias == 0).all()
    assert abs(spread(model.blocks[0].self_attention.distance_bias.weight)[0] - 1) < 0.1
    assert (block.self_attention.gate_scale == 1).all()
    assert 0 <= model.mask_embedding.min() and model.mask_embedding.max() <= 1
    assert 0.2 < spread(model.mask_embedding)[0] < 0.4  # uniform: 0.29
    for norm in (m for m in model.modules() if isinstance(m, nn.LayerNorm | nn.GroupNorm)):
        assert (norm.weight == 1).all() and (norm.bias == 0).all()


def test_every_norm_has_the_epsilon_of_the_config():
    model = fresh(block=dict(norm_eps=0.03, cross_attention=True))
    inside = {name: m.eps for name, m in model.named_modules() if isinstance(m, nn.LayerNorm)}
    front = {name for name in inside if name.startswith("front")}  # always PyTorch's own
    assert {inside[name] for name in front} == {1e-5}
    assert {inside[name] for name in inside.keys() - front} == {0.03} and len(inside) == 2 + 2 + 6


# --- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "waveform, lengths, message",
    [
        (torch.zeros(300), None, r"shape \(batch, samples\), got \(300,\)"),
        (torch.zeros(1, 1, 300), None, r"got \(1, 1, 300\)"),
        (torch.zeros(0, 300), None, "batch of 0 recordings"),
        (torch.full((1, 300), math.nan), None, "NaN or infinity"),
        (torch.full((1, 300), math.inf), None, "NaN or infinity"),
        (torch.zeros(1, 300, dtype=torch.int16), None, "floating-point numbers, got torch.int16"),
        ([[0.1, 0.2], [0.1]], None, "rows of unequal length"),
        ("a.wav", None, "expected a waveform"),
        (torch.zeros(1, 19), None, "at least 20 samples.*got 19"),
        (torch.zeros(2, 300), [300, 19], "at least 20 samples.*got 19"),
        (torch.zeros(2, 300), [301, 300], r"lengths must lie in 1 to 300.*\[301, 300\]"),
        (torch.zeros(2, 300), [0, 300], "lengths must lie in 1 to 300"),
        (torch.zeros(2, 300), [300], r"shape \(2,\)"),
        (torch.zeros(2, 300), [[300, 20]], r"got \(1, 2\)"),
        (torch.zeros(2, 300), [300.0, 20.0], "whole numbers"),
        (torch.zeros(2, 300), torch.ones(2, 300, dtype=torch.bool), "whole numbers"),
    ],
)
def test_wrong_inputs_are_named(waveform, lengths, message):
    with pytest.raises(ValueError, match=message):
        fresh().eval()(waveform, lengths)


@torch.no_grad()
def test_twenty_samples_are_enough_here_and_arrays_and_lists_do():
    model = fresh().eval()
    x = wave(1, 20)
    assert model(x).shape == (1, 1, 24)
    assert torch.equal(model(x.numpy()), model(x))
    assert torch.equal(model(x.double().numpy(), np.array([20])), model(x))
    assert torch.equal(model(x.tolist(), [20]), model(x))


@pytest.mark.parametrize(
    "changes, message",
    [
        (dict(conv_norm="batch"), 'feat_extract_norm must be "group" or "layer", got \'batch\''),
        (dict(position_groups=5), "width 24 is not a multiple of position_groups 5"),
        (dict(conv_strides=(5,)), "one width, one kernel and one stride"),
        (dict(conv_kernels=(0, 3)), "at least 1"),
        (dict(buckets=2), "buckets of at least 4"),
        (dict(buckets=80, max_distance=20), "max_distance above a quarter"),
        (dict(layer_drop=1.5), "layer_drop must lie in 0 to 1"),
        (dict(conv_activation="tanh"), "activation must be one of"),
        (dict(block=dict(heads=5)), "width 24 is not a multiple of heads 5"),
    ],
)
def test_configs_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        fresh(**changes)


def test_adapters_for_languages_are_refused():
    with pytest.raises(ValueError, match="adapter_attn_dim 16.*target_lang"):
        WavLMConfig.from_hugging_face({"model_type": "wav2vec2", "adapter_attn_dim": 16})


def test_configs_go_there_and_back():
    narrow = dict(adapter=True, adapter_width=10)
    for changes in (dict(), dict(buckets=0, max_distance=800), narrow):
        ours = config(**changes)
        again = WavLMConfig.from_hugging_face(ours.to_hugging_face())
        expected = ours if ours.adapter_width else dataclasses.replace(ours, adapter_width=24)
        assert again == expected
