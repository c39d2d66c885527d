"""wav2vec 2.0's contrastive learning on the small listener, and its codebooks."""

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus, paths
from speechlib.recipes import wavlm_clips, wavlm_contrastive
from speechlib.recipes.wavlm_pretrained import Tracks
from speechlib.torch_models.loading import write_folder


@pytest.fixture(scope="module")
def batch_at():
    clips = [
        wavlm_clips.from_wave(u.wave(), u.text, "string", u.voice, u.words)
        for u in corpus.digits("train")[:6]
    ]
    tracks = Tracks(clips, 2, units=wavlm_contrastive.without_units(clips))
    return wavlm_contrastive.batches(tracks, 11)


def test_the_draws_get_colder(batch_at):
    temperatures = [batch_at(step)[2] for step in (0, 5, 10)]
    assert temperatures == pytest.approx([2.0, 1.0, 0.5])


def test_the_loss_reaches_listener_and_codes(batch_at):
    waveform, hidden, temperature = batch_at(0)
    assert waveform.shape == (2, 38_400) and hidden.shape == (2, 119)
    model = wavlm_contrastive.Contrastive(wavlm_contrastive.fresh())
    model.loss(waveform, hidden, temperature).backward()
    assert model.model.quantizer.temperature == temperature
    for part in (model.model.quantizer.codevectors, model.model.encoder.mask_embedding):
        assert part.grad.abs().sum() > 0


def test_a_model_that_knows_the_targets_is_always_right():
    model = wavlm_contrastive.fresh().eval()
    waves = [u.wave() for u in corpus.digits("train")[:4]]

    class Knowing:
        config, quantizer, encoder = model.config, model.quantizer, model.encoder

        def __call__(self, *args, **kwargs):
            _, targets, used = model(*args, **kwargs)
            return targets, targets, used

    items, perplexity = wavlm_contrastive.told_apart(Knowing(), waves)
    assert wavlm_contrastive.share(items) == 1.0
    assert 2 <= perplexity <= 128
    guessed, _ = wavlm_contrastive.told_apart(model, waves)
    assert wavlm_contrastive.share(guessed) < 0.6


def test_the_folder_is_read_back(tmp_path):
    model = wavlm_contrastive.fresh().eval()
    write_folder(model, tmp_path)
    again = sl.load(tmp_path)
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 9000)).astype("f4"))
    with torch.no_grad():
        for one, other in zip(model(wave), again(wave), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.skipif(
    not (paths.data_folder() / "checkpoints" / "wavlm-contrastive").is_dir(),
    reason="not trained yet",
)
def test_the_bundled_checkpoint_tells_codes_apart_and_uses_many():
    items, perplexity = wavlm_contrastive.told_apart(
        sl.load("wavlm-contrastive"), wavlm_contrastive.test_waves("test")[::40]
    )
    assert wavlm_contrastive.share(items) > 4 / 31 and perplexity > 20
