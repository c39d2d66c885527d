"""Waves disturbed on the fly, and batches of them."""

import numpy as np
import pytest

from speechlib.audio import SAMPLE_RATE
from speechlib.corpus.waveforms import Disturbance, padded, perturbed

UNTOUCHED = Disturbance(
    speed=(1, 1),
    rooms=0,
    narrow=0,
    colour_db=0,
    tilt_db=0,
    clean=1,
    clipped=0,
    level_db=(0, 0),
    pad_s=(0, 0),
)


def tone(hertz=500, seconds=1.0):
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def click(at_s, seconds=1.0):
    wave = np.zeros(int(seconds * SAMPLE_RATE), np.float32)
    wave[int(at_s * SAMPLE_RATE) :][:40] = np.hanning(40)
    return wave


def pitch(wave):
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return spectrum.argmax() * SAMPLE_RATE / len(wave)


def changed(**fields):
    return Disturbance(**{**UNTOUCHED.__dict__, **fields})


def test_nothing_asked_for_is_nothing_done():
    made, moved = perturbed(tone(), np.random.default_rng(0), UNTOUCHED)
    np.testing.assert_allclose(made, tone(), atol=1e-5)
    assert made.dtype == np.float32 and moved(0.5) == 0.5


def test_speed_moves_pitch_and_times_together():
    how = changed(speed=(1.2, 1.2), pad_s=(0.1, 0.1))
    made, moved = perturbed(tone(), np.random.default_rng(0), how)
    assert pitch(made) == pytest.approx(600, abs=5)
    assert len(made) / SAMPLE_RATE == pytest.approx(1.2 / 1.2, abs=0.01)
    made, moved = perturbed(click(0.6), np.random.default_rng(0), how)
    assert np.abs(made).argmax() / SAMPLE_RATE == pytest.approx(float(moved(0.601)), abs=0.002)
    assert np.allclose(moved(np.array([0.0, 0.6])), [moved(0.0), moved(0.6)])


def test_the_generator_decides_everything():
    first, second, other = (perturbed(tone(), np.random.default_rng(n))[0] for n in (3, 3, 4))
    assert np.array_equal(first, second)
    assert len(first) != len(other) or not np.allclose(first, other)


def test_noise_is_as_loud_as_asked_for():
    how = changed(clean=0, hum=0, snr_db=(20, 20))
    made, _ = perturbed(tone(), np.random.default_rng(1), how)
    noise = made - tone()
    assert 10 * np.log10(np.square(tone()).mean() / np.square(noise).mean()) == pytest.approx(
        20, abs=2
    )


def test_a_telephone_lets_nothing_through_above_its_limit():
    rng = np.random.default_rng(5)
    white = rng.standard_normal(SAMPLE_RATE).astype(np.float32)
    made, _ = perturbed(white, rng, changed(narrow=1))
    power = np.abs(np.fft.rfft(made)) ** 2
    assert power[7600:].mean() < 1e-3 * power[1000:2500].mean()


def test_talkers_are_heard_behind_a_silence():
    how = changed(clean=0, babble=1, hum=0, snr_db=(0, 0))
    silence = np.zeros(SAMPLE_RATE, np.float32)
    made, _ = perturbed(silence, np.random.default_rng(0), how, talkers=[tone(1000)])
    assert pitch(made) == pytest.approx(1000, abs=5)


def test_a_room_rings_on():
    made, _ = perturbed(click(0.3), np.random.default_rng(0), changed(rooms=1))
    after = made[int(0.32 * SAMPLE_RATE) : int(0.5 * SAMPLE_RATE)]
    assert np.square(after).sum() > 0.01 * np.square(made).sum()


@pytest.mark.parametrize("wave", [np.zeros((2, 5)), np.zeros(0)])
def test_what_is_no_wave_is_refused(wave):
    with pytest.raises(ValueError, match="expected a wave of shape"):
        perturbed(wave, np.random.default_rng(0))


def test_even_one_sample_is_a_wave():
    made, _ = perturbed(np.ones(1), np.random.default_rng(0))
    assert np.isfinite(made).all()


def test_a_batch_is_normalised_and_filled_up():
    batch, lengths = padded([tone(seconds=0.5) + 1, tone()])
    assert batch.shape == (2, SAMPLE_RATE) and batch.dtype == np.float32
    assert lengths.tolist() == [SAMPLE_RATE // 2, SAMPLE_RATE] and lengths.dtype == np.int64
    assert not batch[0, lengths[0] :].any()
    for row, length in zip(batch, lengths, strict=True):
        assert row[:length].mean() == pytest.approx(0, abs=1e-4)
        assert row[:length].var() == pytest.approx(1, abs=1e-3)
    plain, _ = padded([tone()], normalise=False, samples=20_000)
    assert plain.shape == (1, 20_000) and np.array_equal(plain[0, :SAMPLE_RATE], tone())


@pytest.mark.parametrize("arguments", [([],), ([np.zeros(10)], True, 5)])
def test_batches_that_cannot_be_are_refused(arguments):
    with pytest.raises(ValueError, match="expected"):
        padded(*arguments)
