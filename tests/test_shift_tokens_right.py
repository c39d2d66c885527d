"""The decoder's input from its labels: as Hugging Face makes it, wherever the pads stand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlib import tokenizers

PAD, START = 4, 8


def test_by_hand():
    labels = np.array([[1, 2, PAD, 3, -100], [-100, 5, -100, 6, 7]])
    shifted = tokenizers.shift_tokens_right(labels, PAD, START)
    assert shifted.tolist() == [[START, 1, 2, PAD, 3], [START, PAD, 5, PAD, 6]]
    assert labels[0, 4] == -100  # the labels are not changed
    assert tokenizers.shift_tokens_right([[1, 2]], PAD, START).tolist() == [[START, 1]]


@settings(deadline=None)  # the first call imports
@given(st.integers(1, 5), st.integers(1, 8), st.integers(0, 10_000))
def test_equals_hugging_face(batch, tokens, seed):
    import torch

    whisper = pytest.importorskip("transformers.models.whisper.modeling_whisper")
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 9, (batch, tokens))  # with pads in the middle
    labels[rng.random(labels.shape) < 0.3] = -100
    theirs = whisper.shift_tokens_right(torch.tensor(labels), PAD, START)
    ours = tokenizers.shift_tokens_right(torch.tensor(labels), PAD, START)
    assert torch.equal(ours, theirs)
    assert tokenizers.shift_tokens_right(labels, PAD, START).tolist() == theirs.tolist()


@pytest.mark.parametrize(
    ("labels", "pad", "message"),
    [
        ([1, 2], PAD, r"labels \(batch, tokens\), came shape \(2,\): .* a batch of one"),
        (np.zeros((2, 0), int), PAD, r"came shape \(2, 0\)"),
        ([[1]], None, "came pad None and start 8: .*pad_token_id"),
    ],
)
def test_errors_say_what_came(labels, pad, message):
    with pytest.raises(ValueError, match=message):
        tokenizers.shift_tokens_right(labels, pad, START)
