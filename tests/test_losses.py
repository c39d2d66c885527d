"""Losses: CTC equals PyTorch's in value and gradient, and counting all alignments by hand."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from speechlib.torch_models import losses

torch.set_num_threads(1)


def random_case(seed, frames, batch, classes, labels, dtype=torch.float64):
    """Log-probabilities, targets without blank, lengths; infeasible and empty rows among them."""
    generator = torch.Generator().manual_seed(seed)

    def draw(low, high, shape):
        return torch.randint(low, high, shape, generator=generator)

    blank = int(draw(0, classes, ()))
    log_probs = torch.randn(frames, batch, classes, generator=generator, dtype=dtype)
    targets = draw(0, classes - 1, (batch, labels))
    targets = targets + (targets >= blank)  # every class but the blank
    return (
        (3 * log_probs).log_softmax(-1),
        targets,
        draw(0, frames + 1, (batch,)),
        draw(0, labels + 1, (batch,)),
        blank,
    )


def value_and_gradient(function, log_probs, *rest, weights=None, **options):
    log_probs = log_probs.clone().requires_grad_()
    loss = function(log_probs, *rest, **options)
    (loss if weights is None else loss * weights).sum().backward()
    return loss.detach(), log_probs.grad


def assert_as_pytorch(case, reduction, zero_infinity, weights=None):
    log_probs, targets, heard, said, blank = case
    options = dict(blank=blank, reduction=reduction, zero_infinity=zero_infinity, weights=weights)
    ours = value_and_gradient(losses.ctc_loss, log_probs, targets, heard, said, **options)
    theirs = value_and_gradient(F.ctc_loss, log_probs, targets, heard, said, **options)
    close = 1e-12 if log_probs.dtype == torch.float64 else 1e-5
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.dtype == other.dtype
        torch.testing.assert_close(mine, other, rtol=close, atol=close, equal_nan=True)


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 12),
    st.integers(1, 4),
    st.integers(2, 5),
    st.integers(0, 5),
    st.sampled_from([torch.float32, torch.float64]),
    st.sampled_from(["none", "sum", "mean"]),
    st.booleans(),
)
def test_ctc_as_pytorch(seed, frames, batch, classes, labels, dtype, reduction, zero_infinity):
    case = random_case(seed, frames, batch, classes, labels, dtype)
    assert_as_pytorch(case, reduction, zero_infinity)


@pytest.mark.parametrize("zero_infinity", [True, False])
@pytest.mark.parametrize(
    "heard, said, targets",
    [
        ([6, 6], [0, 0], [[1, 2], [1, 1]]),  # empty
        ([3, 2], [2, 2], [[1, 1], [1, 1]]),  # equal neighbours: 3 frames are just enough, 2 are not
        ([1, 0], [2, 1], [[1, 2], [1, 2]]),  # longer than the frames
        ([0, 0], [0, 2], [[1, 2], [1, 2]]),  # no frames: certain when nothing is said
        ([2, 6], [2, 1], [[1, 2], [2, 2]]),  # exactly as many
    ],
)
def test_ctc_edge_cases(zero_infinity, heard, said, targets):
    log_probs = random_case(1, 6, 2, 4, 2)[0]
    heard, said, targets = map(torch.tensor, (heard, said, targets))
    for reduction in ("none", "sum", "mean"):
        assert_as_pytorch((log_probs, targets, heard, said, 0), reduction, zero_infinity)


def test_ctc_takes_what_pytorch_takes():
    log_probs, targets, heard, said, blank = random_case(3, 9, 3, 5, 3)
    said, heard = said.clamp(min=1), heard.clamp(min=7)
    expected = F.ctc_loss(log_probs, targets, heard, said, blank)
    one_after_another = torch.cat([row[:n] for row, n in zip(targets, said, strict=True)])
    padded = targets.clone()
    for row, n in zip(padded, said, strict=True):
        row[n:] = -100
    for given_targets in (one_after_another, padded, padded.int(), padded.tolist(), padded.numpy()):
        for lengths in ((heard, said), (heard.tolist(), tuple(said.tolist()))):
            ours = losses.ctc_loss(log_probs, given_targets, *lengths, blank)
            torch.testing.assert_close(ours, expected)
    row = log_probs[:, 0], targets[0, :2]
    alone = losses.ctc_loss(*row, 9, 2, blank, "none")
    expected = F.ctc_loss(*row, torch.tensor(9), torch.tensor(2), blank, "none")
    torch.testing.assert_close(alone, expected)
    weights = torch.tensor([0.5, -2.0, 3.0])  # another gradient for each row
    assert_as_pytorch((log_probs, targets, heard, said, blank), "none", False, weights)


def test_ctc_counts_every_alignment():
    """All 3^5 ways to label five frames; those that collapse to the target add up."""
    log_probs = random_case(5, 5, 1, 3, 2)[0]
    for target in ([], [1], [2, 1], [1, 1], [1, 2, 1], [1, 1, 2]):
        total = torch.tensor(0.0, dtype=torch.float64)
        for way in itertools.product(range(3), repeat=5):
            merged = [c for c, _ in itertools.groupby(way)]
            if [c for c in merged if c != 0] == target:
                total += sum(log_probs[t, 0, c] for t, c in enumerate(way)).exp()
        ours = losses.ctc_loss(log_probs, [target], [5], [len(target)], reduction="sum")
        torch.testing.assert_close(ours, -total.log())


def test_ctc_gradient_by_finite_differences():
    case = random_case(7, 6, 2, 4, 2)
    scores = torch.randn(6, 2, 4, dtype=torch.float64, requires_grad=True)
    loss = lambda x: losses.ctc_loss(x.log_softmax(-1), case[1], [6, 5], [2, 1], case[4])  # noqa: E731
    assert torch.autograd.gradcheck(loss, scores)


def test_ctc_has_no_second_gradient():
    log_probs = torch.randn(5, 1, 3).log_softmax(-1).requires_grad_()
    loss = losses.ctc_loss(log_probs, [[1, 2]], [5], [2])
    (gradient,) = torch.autograd.grad(loss.square(), log_probs, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.square().sum().backward()


def test_ctc_with_a_class_that_cannot_be():
    """A probability of exactly 0: PyTorch's gradient is NaN there, ours is that of the others."""
    log_probs = torch.tensor([[0.5, 0.5, 0.0]] * 3).log()[:, None].requires_grad_()
    loss = losses.ctc_loss(log_probs, [[1]], [3], [1], reduction="sum")
    torch.testing.assert_close(loss.detach(), -torch.tensor(6 / 8).log())
    loss.backward()
    assert torch.isfinite(log_probs.grad).all()


def test_ctc_in_half_precision_and_long():
    log_probs = random_case(11, 700, 2, 20, 90)[0]
    case = (torch.randint(1, 20, (2, 90)), torch.tensor([700, 650]), torch.tensor([90, 80]))
    exact = losses.ctc_loss(log_probs, *case)
    ours = losses.ctc_loss(log_probs.bfloat16(), *case)
    assert ours.dtype == torch.bfloat16 and abs(ours / exact - 1) < 0.02
    single = losses.ctc_loss(log_probs.float(), *case)
    assert abs(single / exact - 1) < 1e-6


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(log_probs=torch.zeros(5)), "frames, batch, classes"),
        (dict(log_probs=torch.zeros(5, 2, 4, dtype=torch.long)), "int64"),
        (dict(targets=[[1, 4], [1, 2]]), "0 to 3"),
        (dict(targets=[[1, -1], [1, 2]]), "0 to 3"),
        (dict(targets=[[1.0, 2.0], [1.0, 2.0]]), "whole numbers"),
        (dict(targets=[[1, 2]]), r"shape \(2, 2 or more\) or \(4,\)"),
        (dict(targets=[1, 2, 3]), r"got \(3,\)"),
        (dict(input_lengths=[5, 6]), "0 to 5, got"),
        (dict(input_lengths=[5]), "2 whole numbers"),
        (dict(input_lengths=[5.0, 4.0]), "whole numbers"),
        (dict(target_lengths=[2, -1]), "target_lengths"),
        (dict(target_lengths=[3, 1]), "0 to 2, got"),
        (dict(blank=4), "0 to 3, got 4"),
        (dict(blank=3), "must not have the blank, 3,"),
        (dict(targets=[[1, 2], [3, 0]]), "must not have the blank, 0,"),
        (dict(reduction="average"), "reduction"),
    ],
)
def test_ctc_says_what_is_wrong(change, message):
    arguments = dict(
        log_probs=torch.zeros(5, 2, 4).log_softmax(-1),
        targets=[[1, 2], [3, 1]],
        input_lengths=[5, 5],
        target_lengths=[2, 2],
    )
    losses.ctc_loss(**arguments)
    losses.ctc_loss(**arguments | dict(targets=[[1, 2], [3, 0]], target_lengths=[2, 1]))  # past it
    with pytest.raises(ValueError, match=message):
        losses.ctc_loss(**arguments | change)


def test_am_softmax():
    """By hand: cosines, the right one made worse by the margin, all scaled."""
    embeddings, weight = torch.randn(4, 6), torch.randn(6, 3)
    labels = torch.tensor([0, 2, 1, 2])
    total = 0.0
    for row, label in zip(embeddings, labels, strict=True):
        cosines = [F.cosine_similarity(row, weight[:, c], dim=0) for c in range(3)]
        cosines[label] = cosines[label] - 0.4
        total -= torch.log_softmax(30 * torch.stack(cosines), 0)[label]
    torch.testing.assert_close(losses.am_softmax_loss(embeddings, weight, labels), total / 4)
    plain = losses.am_softmax_loss(embeddings, weight, labels, scale=1.0, margin=0.0)
    assert plain < losses.am_softmax_loss(embeddings, weight, labels, scale=1.0, margin=0.3)


@pytest.mark.parametrize(
    "embeddings, weight, labels, message",
    [
        (torch.zeros(2, 3), torch.zeros(4, 5), [0, 1], r"\(2, 3\) and \(4, 5\)"),
        (torch.zeros(2, 3), torch.zeros(3, 5), [0, 5], "0 to 4, got 0 to 5"),
        (torch.zeros(2, 3), torch.zeros(3, 5), [0, -100], "got -100 to 0"),
        (torch.zeros(2, 3), torch.zeros(3, 5), [0], r"shape \(2,\)"),
        (torch.zeros(2, 3), torch.zeros(3, 5), [0.0, 1.0], "whole numbers"),
    ],
)
def test_am_softmax_says_what_is_wrong(embeddings, weight, labels, message):
    with pytest.raises(ValueError, match=message):
        losses.am_softmax_loss(embeddings, weight, labels)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_label_smoothing_as_pytorch(smoothing):
    logits, labels = torch.randn(3, 5, 7), torch.randint(0, 7, (3, 5))
    labels[0, 2] = labels[2, 4] = -100
    expected = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), label_smoothing=smoothing)
    ours = losses.label_smoothed_cross_entropy(logits, labels, smoothing)
    torch.testing.assert_close(ours, expected)
    with pytest.raises(ValueError, match="smoothing"):
        losses.label_smoothed_cross_entropy(logits, labels, 1.5)


def test_negatives_are_other_hidden_frames_of_the_same_utterance():
    hidden = np.zeros((3, 12), dtype=bool)
    hidden[0, [1, 4, 7]] = hidden[2, 3:9] = True
    negatives = losses.sample_negatives(hidden, 50, np.random.default_rng(0))
    assert negatives.shape == (3, 12, 50) and not negatives[1].any()
    for row, frame in zip(*hidden.nonzero(), strict=True):
        others = set(np.flatnonzero(hidden[row])) - {frame}
        assert set(negatives[row, frame].tolist()) == others  # all of them, never the frame itself
    first, second = (losses.sample_negatives(hidden, 50) for _ in range(2))
    assert not np.array_equal(first, second)  # unasked, other ones each time
    with pytest.raises(ValueError, match="utterance 0 hides one frame"):
        losses.sample_negatives(np.eye(2, 5), 3)


def test_contrastive_loss_by_hand():
    torch.manual_seed(0)
    predicted, quantized = torch.randn(2, 5, 4), torch.randn(2, 5, 4)
    quantized[1, 3] = quantized[1, 1]  # a negative that is the answer
    hidden = torch.tensor([[0, 1, 1, 0, 1], [0, 1, 0, 1, 1]]).bool()
    negatives = losses.sample_negatives(hidden, 6, np.random.RandomState(0))
    total = 0.0
    for row, frame in hidden.nonzero().tolist():
        right = quantized[row, frame]
        wrong = [quantized[row, n] for n in negatives[row, frame]]
        choices = [right, *(w for w in wrong if not torch.equal(w, right))]
        scores = [F.cosine_similarity(predicted[row, frame], c, dim=0) / 0.2 for c in choices]
        total -= torch.log_softmax(torch.stack(scores), 0)[0]
    ours = losses.contrastive_loss(predicted, quantized, hidden, negatives, temperature=0.2)
    torch.testing.assert_close(ours, total)
    for wrong in (negatives + 5 * np.arange(2)[:, None, None], negatives - 5):  # Hugging Face's
        with pytest.raises(ValueError, match="must lie in 0 to 4, got .* inside their own row"):
            losses.contrastive_loss(predicted, quantized, hidden, wrong)


def test_contrastive_and_diversity_loss_as_hugging_face():
    """transformers 5.x live; the goldens of the heads hold 4.46.3."""
    transformers = pytest.importorskip("transformers")
    module = transformers.models.wav2vec2.modeling_wav2vec2
    torch.manual_seed(1)
    config = transformers.Wav2Vec2Config(
        hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        conv_dim=(6, 6), conv_kernel=(5, 3), conv_stride=(3, 2), num_codevectors_per_group=5,
        num_codevector_groups=2, codevector_dim=6, proj_codevector_dim=4, num_negatives=7,
        num_conv_pos_embeddings=4, num_conv_pos_embedding_groups=2, mask_time_length=2,
    )  # fmt: skip
    model = module.Wav2Vec2ForPreTraining(config).eval()
    wave = torch.randn(2, 200)
    frames = int(model._get_feat_extract_output_lengths(200))
    hidden = torch.zeros(2, frames, dtype=torch.bool)
    hidden[0, 2:9] = hidden[1, 5:8] = True
    np.random.seed(3)
    theirs_negatives = module._sample_negative_indices((2, frames), 7, hidden.numpy())
    negatives = losses.sample_negatives(hidden, 7, np.random.RandomState(3))
    offsets = np.arange(2)[:, None, None] * frames
    np.testing.assert_array_equal(negatives + offsets, theirs_negatives)
    out = model(
        wave, mask_time_indices=hidden, sampled_negative_indices=torch.tensor(theirs_negatives)
    )
    states, codes = out.projected_states, out.projected_quantized_states
    ours = losses.contrastive_loss(states, codes, hidden, negatives, 0.1)
    torch.testing.assert_close(ours, out.contrastive_loss)
    spread = losses.diversity_loss(out.codevector_perplexity, 10, hidden.sum())
    torch.testing.assert_close(spread, out.diversity_loss)
