"""Masked prediction: clips, their units, the examples made of them, the probe."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus
from speechlib.recipes import phone_probe, sound_units, wavlm_base, wavlm_clips, wavlm_pretrained
from speechlib.recipes.wavlm_pretrained import MaskedPrediction, Tracks


@pytest.fixture(scope="module")
def clips():
    return [
        wavlm_clips.from_wave(u.wave(), u.text, "string", u.voice, u.words)
        for u in corpus.digits("train")[:12]
    ]


@pytest.fixture(scope="module")
def tracks(clips):
    return Tracks(clips, 3)


def test_a_clip_gives_its_wave_back(clips):
    spoken = corpus.digits("train")[0]
    np.testing.assert_allclose(clips[0].wave(), spoken.wave(), atol=1e-4)
    assert clips[0].words == spoken.words


def test_every_frame_of_a_clip_has_a_unit(tracks, clips):
    for clip in clips:
        assert abs(len(tracks.units[clip]) - len(clip.samples) / 320) <= 1
    every = np.concatenate(list(tracks.units.values()))
    assert every.max() < sound_units.UNITS and len(set(every)) > 80


def test_k_means_finds_clusters_that_are_there():
    rng = np.random.default_rng(1)
    centres = np.array([[0, 0], [9, 0], [0, 9.0]])
    points = np.concatenate([c + rng.normal(0, 0.3, (50, 2)) for c in centres])
    found = sound_units.k_means(points, 3, rng)
    assert sorted(np.round(found).tolist()) == sorted(centres.tolist())
    with pytest.raises(ValueError, match="at least 4 frames"):
        sound_units.k_means(points[:3], 4, rng)


def test_a_track_has_each_clips_units_where_the_clip_is(tracks, clips):
    wave, units = tracks.track(np.random.default_rng(1), 48_000)
    assert wave.shape == (48_000,) and units.shape == (150,)
    own, sound = tracks.units[clips[0]], clips[0].wave()
    # somewhere the samples of a clip begin; its units begin there too
    for clip in clips:
        own, sound = tracks.units[clip], clip.wave()
        for frame in range(len(units) - 20):
            if np.array_equal(wave[frame * 320 : frame * 320 + 6400], sound[:6400]):
                assert units[frame : frame + 20].tolist() == own[:20].tolist()
                return
    raise AssertionError("no clip begins in this track: choose another seed")


def test_units_move_with_the_speed(tracks, clips):
    how = replace(wavlm_pretrained.DISTURBED, speed=(0.8, 0.8))
    known = tracks.units, tracks.silence
    slow = Tracks(clips, 1, how=how, units=known)
    wave, units = slow.example(np.random.default_rng(0))
    assert len(wave) == 38_400 and len(units) == 119
    plain = Tracks(clips, 1, how=replace(how, speed=(1.25, 1.25)), units=known)
    before = plain.example(np.random.default_rng(0))[1]
    changes = [int((np.diff(found) != 0).sum()) for found in (units, before)]
    assert changes[0] < changes[1]  # slower: fewer changes in the same time


def test_batches_have_the_shapes_that_the_loss_takes(tracks):
    waveform, units, hidden = tracks(0)
    assert waveform.shape == (3, 38_400) and units.shape == hidden.shape == (3, 119)
    assert torch.equal(tracks(0)[0], waveform) and not torch.equal(tracks(1)[0], waveform)
    assert 0.2 < hidden.float().mean() < 0.45
    model = MaskedPrediction(wavlm_base.listener(layers=1))
    model.loss(waveform, units, hidden, 1.0).backward()
    for part in (model.encoder.mask_embedding, model.reader.weight, model.namer.weight):
        assert part.grad.abs().sum() > 0
    with torch.no_grad():  # without a share the reader is not asked
        alone = MaskedPrediction(model.encoder.eval())
        assert alone.loss(waveform, units, hidden, 0.0) < alone.loss(waveform, units, hidden, 1.0)


def test_hidden_units_alone_make_the_loss_of_hidden_frames(tracks):
    waveform, units, hidden = tracks(2)
    model = MaskedPrediction(wavlm_base.listener(layers=1)).eval()
    none = units.clone()
    none[~hidden] = -100
    none[0, (~hidden[0]).nonzero()[0]] = units[0, (~hidden[0]).nonzero()[0]]
    with torch.no_grad():
        assert torch.isfinite(model.loss(waveform, none, hidden, 0.0))


def test_phones_are_where_the_corpus_says():
    spoken = next(u for u in phone_probe.utterances("valid") if u.phones)
    labels = phone_probe.phones_of(spoken, 400)
    for phone, start_s, end_s in spoken.phones:
        if end_s - start_s > 0.05:
            middle = int(((start_s + end_s) / 2 - 0.0125) / 0.02)
            assert labels[middle] == (phone.rstrip("0123456789#") or phone)
    assert labels[-1] == ""


def test_a_probe_finds_what_is_linear():
    torch.manual_seed(0)
    values, labels = torch.randn(300, 5), torch.randint(3, (300,))
    values[:, :3] += 6 * torch.nn.functional.one_hot(labels, 3)
    find = phone_probe.probed(values, labels, 3, 1e-4)
    assert (find(values) == labels).float().mean() > 0.98


def test_the_bundled_listener_knows_more_phones_than_the_spectrum_shows():
    """A probe on a few recordings; `measure` has the figure on all of them (75 %)."""
    model = sl.load("wavlm-pretrained")
    spoken = {split: phone_probe.utterances(split)[::step] for split, step in
              (("train", 18), ("test", 30))}  # fmt: skip
    names = sorted({p.rstrip("0123456789#") or p for u in spoken["train"] for p, _, _ in u.phones})

    def frames(split, features):
        found = [(features(u.wave())[-1], u) for u in spoken[split]]
        labels = [x for f, u in found for x in phone_probe.phones_of(u, len(f))]
        index = {name: n for n, name in enumerate(["", *names])}
        return torch.cat([f for f, _ in found]), torch.tensor([index.get(x, -1) for x in labels])

    shares = []
    for features in (lambda wave: phone_probe.layers_of(model, wave), phone_probe.log_mel):
        find = phone_probe.probed(*frames("train", features), len(names) + 1, 1e-3, rounds=25)
        values, labels = frames("test", features)
        shares.append((find(values) == labels).float().mean().item())
    assert shares[0] > 0.6 and shares[0] > shares[1] + 0.08
