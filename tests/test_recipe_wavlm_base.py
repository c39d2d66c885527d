"""The WavLM that all wavlm-* checkpoints share."""

import pytest
import torch

from speechlib.recipes import wavlm_base
from speechlib.torch_models.loading import write_folder


def test_the_listener_is_small_and_makes_a_frame_of_20_ms():
    model = wavlm_base.listener().eval()
    assert sum(p.numel() for p in model.parameters()) < 1_050_000
    with torch.no_grad():
        assert model(torch.randn(2, 16_000)).shape == (2, 49, 128)
    samples = torch.tensor([400, 719, 720, 16_000])
    assert wavlm_base.frames_of(samples).tolist() == model.output_lengths(samples).tolist()
    assert wavlm_base.middles_s(3).tolist() == pytest.approx([0.0125, 0.0325, 0.0525])


def test_weights_are_taken_over_with_another_dropout(tmp_path):
    first = wavlm_base.listener()
    write_folder(first, tmp_path)
    wavlm_base.write_preprocessor(tmp_path)
    again = wavlm_base.listener(tmp_path, dropout=0.2)
    assert again.config.block.dropout == 0.2
    wave = torch.randn(1, 8000)
    with torch.no_grad():
        assert torch.equal(first.eval()(wave), again.eval()(wave))


def test_another_shape_is_refused(tmp_path):
    write_folder(wavlm_base.listener(layers=2), tmp_path)
    with pytest.raises(ValueError, match="is not a listener of this shape"):
        wavlm_base.listener(tmp_path)
