"""Training aids of the small Whispers: a shorter window is the same model."""

import pytest
import torch

from speechlib.recipes import whisper_digits
from speechlib.recipes.with_reader import WithReader, shorter
from speechlib.torch_models.whisper import Whisper


@pytest.fixture
def whisper():
    torch.manual_seed(0)
    return Whisper(whisper_digits.config()).eval()


def test_a_shorter_window_is_the_same_model_on_the_first_frames(whisper):
    """Its blocks see fewer frames, but the frames that go into the first block are the same."""
    mel = torch.randn(2, 80, 600)
    short = shorter(whisper, 120)
    # the last frame differs: its convolution sees the padding where the longer one sees sound
    into = short.encoder.hidden_states(mel[:, :, :240])[0]
    assert into.shape == (2, 120, 128)
    whole = whisper.encoder.hidden_states(mel)[0]
    torch.testing.assert_close(into[:, :119], whole[:, :119])
    assert whisper.config.frames == 300 and whisper.encode(mel).shape == (2, 300, 128)


def test_gradients_of_a_shorter_window_reach_the_model_itself(whisper):
    model = WithReader(whisper, names=11)
    labels = torch.tensor([[2, 3, 4, 5, 0], [2, 3, 4, 0, -100]])
    loss = model.loss(torch.randn(2, 80, 240), labels, torch.zeros(2, 120, dtype=torch.long))
    loss.backward()
    learned = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in learned.values())
    assert not whisper.encoder.positions.weight.requires_grad


@pytest.mark.parametrize("frames, first", [(0, 0), (301, 0), (100, 201), (100, -1)])
def test_a_window_that_cannot_be_is_refused(whisper, frames, first):
    came = f"expected 1 to 300 encoder frames, got {first} to {first + frames}"
    with pytest.raises(ValueError, match=came):
        shorter(whisper, frames, first)
