"""wavlm-keywords: its batches, and what it says of the bundled words."""

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib.audio import SAMPLE_RATE
from speechlib.corpus import waveforms
from speechlib.corpus.grammar import KEYWORDS
from speechlib.recipes import wavlm_base, wavlm_heads, wavlm_keywords
from speechlib.recipes.wavlm_heads import Piece


def tones(words=KEYWORDS, seconds=0.4):
    """Every word is a tone: 300 Hz, 600 Hz, …"""
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return [
        Piece((8000 * np.sin(2 * np.pi * 300 * (n + 1) * time)).astype(np.int16), word, "hum",
              "hum", (0, len(time)))
        for n, word in enumerate(words)
    ]  # fmt: skip


def test_a_row_holds_the_word_that_its_label_says(monkeypatch):
    how = waveforms.Disturbance(
        speed=(1, 1), rooms=0, narrow=0, colour_db=0, tilt_db=0, clean=1, clipped=0, pad_s=(0, 0.1)
    )
    monkeypatch.setattr(wavlm_keywords, "HOW", how)
    batch_at = wavlm_keywords.batches(tones(), 16, seed=0)
    waveform, labels = batch_at(0)
    assert waveform.shape[0] == 16 and 6400 <= waveform.shape[1] <= 9600
    assert len(set(labels.tolist())) > 3
    for row, label in zip(waveform.numpy(), labels.tolist(), strict=True):
        peak = np.abs(np.fft.rfft(row)).argmax() * SAMPLE_RATE / len(row)
        assert peak == pytest.approx(300 * (label + 1), rel=0.02)
    assert torch.equal(waveform, batch_at(0)[0])


def test_other_words_are_not_learned_from():
    with pytest.raises(ValueError, match="text is a keyword"):
        wavlm_keywords.batches(tones(["forty-two"]), 4, seed=0)


def test_a_fresh_classifier_reads_all_layers_alike():
    model = wavlm_keywords.fresh(wavlm_base.listener(layers=2))
    assert model.layer_weights.softmax(0).tolist() == pytest.approx([1 / 3] * 3)
    waveform, labels = wavlm_keywords.batches(tones(), 4, seed=0)(0)
    assert torch.isfinite(model.loss(waveform, labels))


def test_the_bundled_model_tells_test_words_apart():
    clips = wavlm_heads.pieces((), "test", ("keyword",))[::3]
    model = sl.load("wavlm-keywords")
    assert wavlm_keywords.errors(model, clips) <= 0.06  # measured: none
    labels = model.checkpoint.config["id2label"]
    assert [labels[str(n)] for n in range(10)] == list(KEYWORDS)
    assert model.layer_weights.numel() == 5
