"""wavlm-voices: what it learns from, its head start, and how it is measured."""

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus
from speechlib.audio import SAMPLE_RATE
from speechlib.corpus import waveforms
from speechlib.recipes import voice_figures, wavlm_base, wavlm_heads, wavlm_voices
from speechlib.recipes.wavlm_heads import Piece

TONES = {"low": 300, "high": 500}  # Hz, of voices that only hum


def humming(names=("low", "high"), seconds=0.8):
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return {
        name: [
            Piece((8000 * np.sin(2 * np.pi * TONES[name] * time)).astype(np.int16), "", name, name,
                  (0, len(time)))
        ] * 3
        for name in names
    }  # fmt: skip


@pytest.fixture
def plain(monkeypatch):
    """Nothing is disturbed but the speed."""
    how = waveforms.Disturbance(
        rooms=0, narrow=0, colour_db=0, tilt_db=0, clean=1, clipped=0, pad_s=(0, 0)
    )
    monkeypatch.setattr(wavlm_voices, "SAME_PERSON", how)


def test_a_row_is_the_voice_at_the_speed_that_its_label_says(plain):
    voices = humming()
    classes = wavlm_voices.classes_of(voices)
    assert classes[:2] == [("low", 1.0), ("high", 1.0)] and len(classes) == 6
    waveform, labels, _ = wavlm_voices.batches(voices, 8, seed=0, steps=10)(3)
    for row, label in zip(waveform.numpy(), labels, strict=True):
        peak = np.abs(np.fft.rfft(row)).argmax() * SAMPLE_RATE / len(row)
        voice, speed = classes[label]
        assert peak == pytest.approx(TONES[voice] * speed, rel=0.02)


def test_a_batch_is_always_the_same_and_the_margin_grows():
    batch_at = wavlm_voices.batches(humming(), 6, seed=1, steps=100)
    first, again = batch_at(5), batch_at(5)
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0][0, :4000], batch_at(6)[0][0, :4000])
    assert [batch_at(n)[2] for n in (0, 20, 40, 99)] == pytest.approx(
        [0.0, wavlm_voices.MARGIN / 2, wavlm_voices.MARGIN, wavlm_voices.MARGIN]
    )


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return wavlm_voices.fresh(wavlm_base.listener(layers=1), 4).eval()


def test_the_head_start_spreads_embeddings_and_points_classes_at_their_pieces(small):
    waves = torch.randn(4, 8000, generator=torch.Generator().manual_seed(0)).cumsum(1)
    waves = (waves - waves.mean(1, keepdim=True)) / waves.std(1, keepdim=True)
    wavlm_voices.spread_out(small, [waves[:3], waves[3:]])
    with torch.no_grad():
        embedded = small.embed(waves)
        directions = small.objective.weight
        assert torch.equal(small(waves), embedded)  # the layer before the loss does nothing
    cosines = torch.nn.functional.normalize(embedded, dim=1) @ directions
    assert torch.allclose(cosines.diagonal(), torch.ones(4), atol=1e-3)
    assert (cosines - torch.eye(4)).max() < 0.1
    with pytest.raises(ValueError, match="a row for each of 4 classes, got 3"):
        wavlm_voices.spread_out(small, [waves[:3]])


def test_what_is_shipped_has_fewer_classes_and_the_same_embedding(small):
    fewer = wavlm_voices.narrowed(small, [2, 0])
    assert torch.equal(fewer.objective.weight, small.objective.weight[:, [2, 0]])
    wave = torch.randn(1, 8000)
    with torch.no_grad():
        assert torch.equal(fewer.embed(wave), small.embed(wave))


def test_a_voice_that_is_drawn_twice_never_meets_itself_as_another():
    trials = voice_figures.Trials(None, [c for mine in humming().values() for c in mine])
    scores, same = trials.of(["low", "high"])
    assert (same.sum(), (~same).sum()) == (2 * 3, 3 * 3)
    _, same = trials.of(["low", "low", "high"])
    assert (same.sum(), (~same).sum()) == (3 * 3, 2 * 9)
    assert trials.eer(["low", "high"]) == 0
    with pytest.raises(ValueError, match="trials of the same voice and of different voices"):
        trials.eer(["low", "low"])
    with pytest.raises(ValueError, match="trials"):  # they are of two timbres
        trials.eer(["low", "high"], timbres=("same",))


def test_sets_that_hold_nothing_of_the_kind_are_refused():
    with pytest.raises(ValueError, match="a song of the split train in .*numbers, found none"):
        wavlm_heads.pieces((), "train", ("song",))


def test_the_bundled_model_tells_test_voices_apart():
    clips = wavlm_heads.pieces((), "test", wavlm_voices.KINDS)
    some = voice_figures.some(clips, 4 * len({clip.voice for clip in clips}))
    model = sl.load("wavlm-voices")
    assert voice_figures.eer_of(model, some) < 0.16
    labels = set(model.checkpoint.config["id2label"].values())
    assert labels == set(corpus.voice_clips("train")) and len(labels) == 52
