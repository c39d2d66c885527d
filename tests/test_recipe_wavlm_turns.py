"""wavlm-turns: conversations mixed on the fly, their labels, and how the model is measured."""

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib.audio import SAMPLE_RATE
from speechlib.corpus import waveforms
from speechlib.recipes import turn_figures, wavlm_base, wavlm_turns
from speechlib.recipes.wavlm_heads import Piece

TONES = {"low": 70, "middle": 150, "high": 330}  # Hz, of voices that only hum


def humming(names=tuple(TONES), timbre=None):
    time = np.arange(int(0.5 * SAMPLE_RATE)) / SAMPLE_RATE
    quiet = np.zeros(1600, np.int16)
    found = {}
    for name in names:
        hum = (8000 * np.cos(2 * np.pi * TONES[name] * time)).astype(np.int16)
        samples = np.concatenate([quiet, hum, quiet])
        found[name] = [Piece(samples, "hum", name, timbre or name, (1600, 1600 + len(hum)))] * 2
    return found


def frames_of(samples):
    return wavlm_base.listener(layers=1).output_lengths(samples)


def test_a_frame_is_spoken_where_its_middle_is():
    # middles are 12.5, 32.5, 52.5, … ms
    found = turn_figures.at_frames([(0.0125, 0.0325), (0.05, 0.08)], 5)
    assert found.tolist() == [True, False, True, True, False]


def test_turns_are_where_the_sound_is_and_the_first_speaks_first():
    rng = np.random.default_rng(0)
    for _ in range(10):
        wave, turns, names = wavlm_turns.conversation(humming(), 5.0, rng)
        assert turns[0] and (not turns[1] or turns[0][0][0] < turns[1][0][0])
        assert len({*names}) == 2 and {*names} <= {*TONES}
        said = np.zeros(len(wave), bool)
        for start_s, end_s in sum(turns, []):
            said[round(start_s * SAMPLE_RATE) : round(end_s * SAMPLE_RATE)] = True
        assert not wave[~said].any()
        blocks = len(wave) // 160
        loud = np.abs(wave[: blocks * 160]).reshape(blocks, 160).max(1) > 0.01
        whole = said[: blocks * 160].reshape(blocks, 160).all(1)
        assert (loud | ~whole).mean() > 0.99


def test_labels_of_a_batch_follow_the_disturbed_sound(monkeypatch):
    how = waveforms.Disturbance(rooms=0, narrow=0, colour_db=0, tilt_db=0, clean=1, clipped=0)
    monkeypatch.setattr(wavlm_turns, "HOW", how)
    monkeypatch.setattr(wavlm_turns, "ALONE", 0.0)
    batch_at = wavlm_turns.batches(humming(), 2, 0, frames_of, steps=10)
    waveform, spoken, free = batch_at(2)
    assert not free and batch_at(9)[2]
    assert spoken.shape == (len(waveform), frames_of(waveform.shape[1]), 2)
    for wave, who in zip(waveform.numpy(), spoken.numpy(), strict=True):
        heard = np.array([_pitch(wave, frame) for frame in range(len(who))])
        alone = who.sum(1) == 1
        alone[1:-1] &= (who[:-2] == who[1:-1]).all(1) & (who[2:] == who[1:-1]).all(1)
        pitches = [np.median(heard[alone & (who[:, n] == 1)]) for n in (0, 1)]
        assert pitches[1] > 2 * pitches[0]  # the lower voice is the first
        for n in (0, 1):
            assert heard[alone & (who[:, n] == 1)] == pytest.approx(pitches[n], rel=0.3)


def _pitch(wave, frame):
    piece = wave[frame * 320 : frame * 320 + 400]
    return np.abs(np.fft.rfft(piece * np.hanning(len(piece)), 16384)).argmax() * SAMPLE_RATE / 16384


def test_two_voices_of_one_timbre_do_not_talk_with_each_other():
    with pytest.raises(ValueError, match="at least two timbres"):
        wavlm_turns.batches(humming(timbre="same"), 2, 0, frames_of, steps=10)


def test_the_loss_lets_both_speak_at_once():
    model = wavlm_turns.TwoQuestions(wavlm_turns.fresh(wavlm_base.listener(layers=1)))
    wave, both = torch.randn(1, 8000), torch.ones(1, 24, 2)
    torch.nn.init.zeros_(model.model.classifier.weight)
    model.model.classifier.bias.data = torch.tensor([20.0, 20.0])
    assert model.loss(wave, both) < 1e-6
    assert model.loss(wave, 1 - both) > 10
    model.model.classifier.bias.data = torch.tensor([20.0, -20.0])
    other = torch.tensor([0.0, 1.0]).expand(1, 24, 2)
    assert model.loss(wave, other) < 1e-6  # in the other order
    assert model.loss(wave, other, free=False) > 10


def test_pitch_is_heard():
    for name, clips in humming().items():
        assert wavlm_turns.pitch_of(clips) == pytest.approx(TONES[name], rel=0.03)


def test_a_model_that_knows_has_no_error_and_a_silent_one_misses_all():
    right = np.zeros((200, 2), bool)  # 2 s
    right[20:120, 0] = right[100:180, 1] = True
    wave = np.random.default_rng(0).standard_normal(2 * SAMPLE_RATE).astype(np.float32)
    spans = [(0.2, 1.2)], [(1.0, 1.8)]
    known = np.stack([turn_figures.at_frames(mine, 99) for mine in spans], axis=1)

    def knows(waveform):
        return torch.from_numpy(known)[None].float() * 20 - 10

    errors = turn_figures.errors_of(knows, [(wave, right)])
    assert turn_figures.rate(errors) < 0.03  # frames of 20 ms: edges may be 10 ms off
    silent = turn_figures.errors_of(lambda waveform: -knows(waveform).abs(), [(wave, right)])
    assert turn_figures.rate(silent) == 1


def test_the_bundled_model_tells_who_speaks_in_test_conversations():
    model = sl.load("wavlm-turns")
    found = turn_figures.errors_of(model, turn_figures.bundled("test")[:4])
    assert turn_figures.rate(found) < 0.2
    assert model(torch.zeros(1, 16_000)).shape == (1, 49, 2)
