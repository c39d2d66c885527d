"""The Gumbel quantiser equals Hugging Face's, asleep and training, and draws as it should."""

from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import speechlib as sl
from speechlib.torch_models.quantizer import perplexity

torch.set_num_threads(1)


def pair(seed, features, groups, codes, width):
    """Ours and theirs (transformers 5.x; the same formulas as in 4.46.3), same random weights."""
    transformers = pytest.importorskip("transformers")
    their_class = transformers.models.wav2vec2.modeling_wav2vec2.Wav2Vec2GumbelVectorQuantizer
    config = SimpleNamespace(
        num_codevector_groups=groups,
        num_codevectors_per_group=codes,
        codevector_dim=groups * width,
        conv_dim=[features],
    )
    torch.manual_seed(seed)
    theirs = their_class(config)
    theirs.codevectors.data.normal_()
    ours = sl.quantizer.GumbelQuantizer(features, groups, codes, groups * width)
    ours.load_state_dict(
        {name.replace("weight_proj", "scores"): p for name, p in theirs.state_dict().items()}
    )
    return ours, theirs


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 999),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 4),
    st.sampled_from([2.0, 0.5, 0.1]),
    st.booleans(),
    st.booleans(),
)
def test_as_hugging_face(seed, features, groups, codes, width, temperature, training, masked):
    ours, theirs = pair(seed, features, groups, codes, width)
    x, mask = torch.randn(2, 7, features), torch.rand(2, 7) < 0.5
    mask[0, 0] = True
    results = []
    for module in (ours, theirs):
        module.train(training)
        module.temperature = temperature
        inside = x.clone().requires_grad_()
        torch.manual_seed(seed)  # the same Gumbel noise
        vectors, used = module(inside, mask if masked else None)
        loss = vectors.pow(2).sum() + (used if training else 0)
        loss.backward()
        results.append([vectors, used, module.codevectors.grad, inside.grad])
    for mine, other in zip(*results, strict=True):
        assert (mine is None) == (other is None)
        if mine is not None:
            torch.testing.assert_close(mine, other, rtol=2e-5, atol=2e-5)


def quantizer(**sizes):
    torch.manual_seed(0)
    sizes = dict(features=4, groups=2, codes=3, codevector_dim=8) | sizes
    return sl.quantizer.GumbelQuantizer(**sizes)


def test_each_frame_takes_one_vector_from_each_book():
    module = quantizer().eval()
    module.codevectors.data.normal_()
    vectors, _ = module(torch.randn(3, 5, 4))
    books = module.codevectors.detach().view(2, 3, 4)
    for group, half in enumerate(vectors.split(4, dim=-1)):
        found = (half[..., None, :] == books[group]).all(-1).sum(-1)
        assert (found == 1).all()


def test_draws_follow_the_scores():
    """In train(), code c comes with probability softmax(scores)[c], whatever the temperature."""
    module = quantizer(groups=1, codevector_dim=3).train()
    module.codevectors.data = torch.eye(3)[None]
    module.scores.weight.data.zero_()
    module.scores.bias.data = torch.tensor([0.0, 1.0, 2.0])
    expected = module.scores.bias.softmax(0)
    for temperature in (2.0, 0.5):
        module.temperature = temperature
        chosen, _ = module(torch.zeros(4, 5000, 4))
        share = chosen.round().mean((0, 1))
        assert torch.allclose(share, expected, atol=0.02)  # 5 standard deviations


def test_half_precision_draws_in_float32(monkeypatch):
    """In float16 a draw may be exactly 0, whose logarithm is infinite."""
    drawn, plain = [], torch.Tensor.exponential_
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda x: drawn.append(x.dtype) or plain(x))
    module = quantizer(groups=1, codes=4, codevector_dim=4).half().train()
    vectors, perplexity = module(torch.zeros(1, 50, 4, dtype=torch.float16))
    assert drawn == [torch.float32] and vectors.dtype == torch.float16
    assert perplexity.dtype == torch.float32 and abs(perplexity - 4) < 0.01


def test_the_gradient_goes_straight_through():
    module = quantizer().train()
    vectors, _ = module(torch.randn(2, 6, 4))
    vectors.square().sum().backward()
    assert module.scores.weight.grad.abs().max() > 1e-4
    assert module.eval()(torch.randn(2, 6, 4))[1].grad_fn is None  # argmax: no gradient


def test_perplexity():
    even = torch.eye(4)[None, :, None]  # four frames, four codes, each once
    torch.testing.assert_close(perplexity(even), torch.tensor(4.0), rtol=1e-5, atol=1e-5)
    one = even[:, [1, 1, 1, 1]]
    torch.testing.assert_close(perplexity(one), torch.tensor(1.0), rtol=1e-5, atol=1e-5)
    mask = torch.tensor([[True, True, False, False]])
    torch.testing.assert_close(perplexity(even, mask), torch.tensor(2.0), rtol=1e-5, atol=1e-5)


def test_fresh_weights_as_published():
    module = quantizer(features=64, codes=50, codevector_dim=64)
    vectors = module.codevectors
    assert 0 <= vectors.min() and vectors.max() <= 1 and abs(vectors.mean() - 0.5) < 0.02
    assert abs(module.scores.weight.std() - 1) < 0.05 and not module.scores.bias.any()


@pytest.mark.parametrize(
    "sizes, message",
    [
        (dict(groups=3), "codevector_dim 8 is not divisible by groups 3"),
        (dict(codes=0), "at least 1"),
    ],
)
def test_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        quantizer(**sizes)


@pytest.mark.parametrize("x", [torch.zeros(2, 3), torch.zeros(2, 3, 5), [[["a"]]]])
def test_inputs_that_do_not_fit(x):
    with pytest.raises(ValueError, match="expected features"):
        quantizer()(x)
