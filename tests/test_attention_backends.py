"""Attention step by step, fused and by tiles: one definition, three roads, equal numbers.

Values and gradients, with every kind of mask and bias, over random shapes that cross tile borders.
"""

import pytest
import torch
from golden_cases import assert_close
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from speechlib import configs
from speechlib.torch_models import attention, flash_attention
from speechlib.torch_models.gated_attention import GatedAttention
from speechlib.torch_models.linear import Linear
from speechlib.torch_models.wavlm import WavLM

torch.set_num_threads(1)
OTHERS = ("sdpa", "flash")
MASKS = ("none", "padding", "causal", "both", "nothing", "one query sees nothing")


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Tiles of 5, so that small cases have several, the last one not full."""
    monkeypatch.setattr(flash_attention, "TILE", 5)


def mask_of(kind, batch, queries, keys, generator):
    causal = torch.arange(keys) <= torch.arange(queries)[:, None] + max(keys - queries, 0)
    lengths = torch.randint(1, keys + 1, (batch,), generator=generator)
    padding = (torch.arange(keys) < lengths[:, None])[:, None, None]
    some = torch.rand(batch, 1, queries, keys, generator=generator) < 0.6
    some[0, 0, 0] = False
    return {
        "none": None,
        "padding": padding,
        "causal": causal[None, None],
        "both": causal & padding,
        "nothing": padding & (torch.arange(batch) > 0)[:, None, None, None],
        "one query sees nothing": some,
    }[kind]


def case(kind, bias, batch=2, heads=2, queries=12, keys=13, width=4, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def random(*shape):
        return torch.randn(*shape, generator=generator)

    shapes = [(batch, heads, n, width) for n in (queries, keys, keys)]
    qkv = [random(*shape).mul(1.5).requires_grad_() for shape in shapes]
    added = None
    if bias:
        rows, columns = (batch, heads), (queries, keys)
        shape = {"full": rows + columns, "by head": (1, heads) + columns, "one": (1, 1) + columns}
        added = random(*shape[bias]).mul(2).requires_grad_()
    return qkv, mask_of(kind, batch, queries, keys, generator), added


def results(backend, qkv, mask, bias):
    """What it returns, and the gradients of everything that has one."""
    out = attention.BACKENDS[backend](*qkv, mask, bias)
    upstream = torch.linspace(-1, 1, out.numel()).view(out.shape)
    sources = [*qkv] if bias is None else [*qkv, bias]
    return [out, *torch.autograd.grad((out * upstream).sum(), sources)]


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("bias", [None, "full", "by head", "one"])
@pytest.mark.parametrize("kind", MASKS)
def test_values_and_gradients(kind, bias, backend):
    given_case = case(kind, bias)
    for ours, expected in zip(
        results(backend, *given_case), results("eager", *given_case), strict=True
    ):
        assert_close(ours, expected, f"{backend}, {kind}, bias {bias}")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(MASKS), st.sampled_from([None, "full", "by head"]), st.integers(1, 3),
    st.integers(1, 3), st.integers(1, 17), st.integers(1, 17), st.integers(1, 5),
    st.integers(0, 99),
)  # fmt: skip
def test_any_shape(kind, bias, batch, heads, queries, keys, width, seed):
    given_case = case(kind, bias, batch, heads, queries, keys, width, seed)
    expected = results("eager", *given_case)
    for backend in OTHERS:
        for ours, theirs in zip(results(backend, *given_case), expected, strict=True):
            assert_close(ours, theirs, backend)


@torch.no_grad()
def test_a_query_that_sees_nothing_gets_the_mean_of_all_values():
    (query, key, value), mask, _ = case("nothing", None)
    for backend in attention.BACKENDS:
        mixed = attention.BACKENDS[backend](query, key, value, mask)
        expected = value[0].mean(dim=1, keepdim=True).expand_as(mixed[0])
        assert_close(mixed[0], expected, backend)


@torch.no_grad()
@pytest.mark.parametrize("backend", OTHERS)
def test_large_scores(backend):
    """Scores that would overflow exp, and a maximum that moves in every tile."""
    (query, key, value), mask, _ = case("causal", None, queries=30, keys=30)
    ramp = torch.linspace(-40, 40, 30)[:, None]
    given_case = (query * 20, key + ramp, value, mask)
    expected = attention.eager(*(x.double() for x in given_case[:3]), mask)
    ours = attention.BACKENDS[backend](*given_case)
    assert_close(ours, attention.eager(*given_case), backend)
    assert_close(ours, expected.float(), backend, 1e-3)


@torch.no_grad()
@pytest.mark.parametrize("backend", tuple(attention.BACKENDS))
def test_dropout_of_weights(backend):
    """Values of 1: a query gets the sum of its dropped weights, 1 on average; with 4 equal weights
    and half of them dropped every sum is a multiple of 1/2."""
    torch.manual_seed(0)
    query, key = torch.zeros(1, 1, 4000, 2), torch.zeros(1, 1, 4, 2)
    value = torch.ones(1, 1, 4, 2)
    mixed = attention.BACKENDS[backend](query, key, value, dropout=0.5)[..., 0].flatten()
    assert_close(mixed * 2, (mixed * 2).round(), "multiples")
    assert abs(mixed.mean() - 1) < 0.05 and abs(mixed.var() - 0.25) < 0.03
    counts = torch.bincount((mixed * 2).round().long(), minlength=5) / 4000
    assert_close(counts, torch.tensor([1, 4, 6, 4, 1]) / 16, "binomial", 0.03)


@torch.no_grad()
@pytest.mark.parametrize("backend", tuple(attention.BACKENDS))
def test_a_lone_query_drops_weights_too(backend):
    torch.manual_seed(0)
    query, key = torch.zeros(4000, 1, 1, 2), torch.zeros(4000, 1, 4, 2)
    value = torch.ones(4000, 1, 4, 2)
    mixed = attention.BACKENDS[backend](query, key, value, dropout=0.5)[..., 0]
    assert abs(mixed.mean() - 1) < 0.05 and abs(mixed.var() - 0.25) < 0.03


@torch.no_grad()
@pytest.mark.parametrize("backend", OTHERS)
def test_one_mask_serves_all_rows(backend):
    (query, key, value), _, _ = case("none", None)
    mask = torch.arange(13).expand(1, 1, 1, 13) < 9
    ours = attention.BACKENDS[backend](query, key, value, mask)
    assert_close(ours, attention.eager(query, key, value, mask), backend)


def test_dropout_goes_on_where_padding_is_cut_out():
    torch.manual_seed(0)
    query, key, value = torch.zeros(2, 1, 3000, 2), torch.zeros(2, 1, 6, 2), torch.ones(2, 1, 6, 2)
    mask = torch.arange(6).expand(2, 1, 1, 6) < 4  # four equal weights, half of them dropped
    mixed = flash_attention.flash(query, key, value, mask, dropout=0.5)
    assert abs(mixed.mean() - 1) < 0.05 and abs(mixed[..., 0].var() - 0.25) < 0.03


def test_dropout_has_one_gradient():
    """What is dropped on the way forth is dropped on the way back, though tiles are made again."""
    (query, key, _), _, _ = case("none", None)
    value = torch.randn(2, 2, 13, 4, requires_grad=True)
    torch.manual_seed(3)
    out = flash_attention.flash(query, key, value, dropout=0.4)
    (gradient,) = torch.autograd.grad(out.sum(), value)
    torch.manual_seed(3)
    again = flash_attention.flash(query, key, value.detach(), dropout=0.4)
    assert_close((gradient * value).sum(), again.sum(), "linear in the values")


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_number_types(dtype):
    (query, key, value), mask, bias = case("both", "full", queries=20, keys=20)
    given_case = [x.to(dtype) for x in (query, key, value)] + [mask, bias.to(dtype)]
    exact = attention.eager(*(x.to(dtype).double() for x in (query, key, value)), mask,
                            bias.to(dtype).double())  # fmt: skip
    tolerance = {torch.float64: 1e-12, torch.bfloat16: 3e-2, torch.float16: 3e-3}[dtype]
    for backend in attention.BACKENDS:
        mixed = attention.BACKENDS[backend](*given_case)
        assert mixed.dtype == dtype
        assert_close(mixed.double(), exact, backend, tolerance)


def test_tiles_are_not_kept_for_the_way_back(monkeypatch):
    """They are made again there: that is what saves the memory."""
    calls, made = [], flash_attention._strip
    monkeypatch.setattr(flash_attention, "_strip", lambda *x: calls.append(1) or made(*x))
    (query, key, value), _, _ = case("none", None)
    out = flash_attention.flash(query.requires_grad_(), key, value)
    forth = len(calls)
    out.sum().backward()
    assert len(calls) == 2 * forth
    with torch.no_grad():
        flash_attention.flash(query, key, value)
    assert len(calls) == 3 * forth


@torch.no_grad()
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(300,), (1, 1, 300), (2, 300), (2, 3, 300), (9, 300), (0, 300)])
def test_few_rows_take_another_road_to_the_same_numbers(shape, bias):
    layer = Linear(300, 400, bias=bias)  # large enough for it
    x = torch.randn(shape)
    assert_close(layer(x), torch.nn.functional.linear(x, layer.weight, layer.bias), "rows")


@torch.no_grad()
def test_tiles_of_half_numbers_are_added_up_in_float32():
    """In bfloat16 a sum of 1,000 does not grow by less than 4."""
    query, key = torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2000, 2)
    value = torch.ones(1, 1, 2000, 2)
    value[:, :, 1000:] = 0
    mixed = flash_attention.flash(query.bfloat16(), key.bfloat16(), value.bfloat16())
    assert_close(mixed.float(), torch.full((1, 1, 2, 2), 0.5), "mean", 0.01)


# --- un-padding ---------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 4), st.integers(1, 9), st.integers(0, 99))
def test_unpad_and_back(batch, frames, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, frames, 2, 3, generator=generator)
    real = torch.rand(batch, frames, generator=generator) < 0.7
    packed, ends = flash_attention.unpad(x, real)
    assert len(ends) == batch + 1 and ends[0] == 0 and ends[-1] == len(packed) == real.sum()
    for row in range(batch):
        torch.testing.assert_close(packed[ends[row] : ends[row + 1]], x[row][real[row]])
    expected = x * real[:, :, None, None]
    torch.testing.assert_close(flash_attention.pad_back(packed, real), expected)


@torch.no_grad()
def test_packed_rows_do_not_see_each_other():
    """Both queries and keys packed, as published: block-diagonal weights."""
    (query, _, _), mask, _ = case("padding", None, batch=3, queries=13, keys=13, seed=4)
    _, key, value = (torch.randn(3, 2, 13, 4) for _ in range(3))
    real = mask[:, 0, 0]
    parts = [flash_attention.unpad(x.transpose(1, 2), real) for x in (query, key, value)]
    ends = parts[0][1]
    packed = flash_attention.flash_packed(*(x for x, _ in parts), ends, ends)
    mixed = flash_attention.pad_back(packed, real).transpose(1, 2)
    expected = attention.eager(query, key, value, mask)
    there = real[:, None, :, None].expand_as(expected)
    assert_close(mixed[there], expected[there], "real queries")
    assert not mixed[~there].any()
    block = torch.block_diag(*(torch.ones(n, n) for n in ends.diff().tolist())).bool()
    q, k, v = (x.transpose(0, 1)[None] for x, _ in parts)
    assert_close(packed, attention.eager(q, k, v, block[None, None])[0].transpose(0, 1), "blocks")


def test_no_tile_is_larger_than_asked(monkeypatch):
    """The table of all weights never exists: no product has more than TILE x TILE scores a head."""
    seen = []
    real = torch.Tensor.exp
    monkeypatch.setattr(torch.Tensor, "exp", lambda x: seen.append(x.shape) or real(x))
    with torch.no_grad():
        (query, key, value), mask, bias = case("both", "full", queries=23, keys=31)
        flash_attention.flash(query, key, value, mask, bias)
    assert max(shape[-1] for shape in seen) == 5 and max(shape[-2] for shape in seen) == 5


# --- inside models ------------------------------------------------------------------------------


def wavlm(backend):
    block = configs.BlockConfig(width=12, heads=3, feed_forward=16, attention=backend)
    return configs.WavLMConfig(
        block=block, spec_augment=configs.SpecAugmentConfig(), layers=2, conv_widths=(8, 8),
        conv_kernels=(10, 3), conv_strides=(5, 2), position_kernel=4, position_groups=2,
    )  # fmt: skip


@pytest.mark.parametrize("backend", OTHERS)
def test_gated_bias_of_wavlm(backend):
    """The bias by distance, gated by every query, and padding: values and gradients."""
    torch.manual_seed(0)
    models = [WavLM(wavlm(name)).eval() for name in ("eager", backend)]
    for parameter in models[0].parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    models[1].load_state_dict(models[0].state_dict())
    assert isinstance(models[1].blocks[0].self_attention, GatedAttention)
    wave, lengths = torch.randn(3, 260), torch.tensor([260, 170, 40])
    expected, ours = (model(wave, lengths) for model in models)
    real = models[0].frame_mask(lengths, ours.shape[1])
    assert_close(ours[real], expected[real], backend)
    gradients = []
    for model, out in zip(models, (expected, ours), strict=True):
        F.mse_loss(out[real], torch.ones_like(out[real])).backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert_close(gradients[1][name], gradient, name)


@pytest.mark.parametrize("backend", tuple(attention.BACKENDS))
def test_beams_share_keys(backend):
    """Rows of queries that are a multiple of the rows of keys: as if the keys were repeated."""
    torch.manual_seed(1)
    layer = attention.MultiHeadAttention(8, 2, backend=backend).eval()
    x, source = torch.randn(6, 1, 8), torch.randn(2, 7, 8)
    mask = (torch.arange(7) < torch.tensor([[7], [4]]))[:, None, None]
    shared = layer(x, layer.keys_values(source), mask)
    repeated = source.repeat_interleave(3, dim=0)
    expected = layer(x, layer.keys_values(repeated), mask.repeat_interleave(3, dim=0))
    assert_close(shared, expected, backend)
