"""Slower and faster speech at the same pitch."""

import numpy as np
import pytest

from speechlib.audio import SAMPLE_RATE
from speechlib.corpus.pace import stretched


def tone(hertz=200, seconds=1.0):
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.4])
def test_the_length_changes_and_the_pitch_stays(factor):
    made = stretched(tone(), factor)
    assert len(made) == round(SAMPLE_RATE * factor)
    inner = made[800:-800]
    spectrum = np.abs(np.fft.rfft(inner * np.hanning(len(inner))))
    assert spectrum.argmax() * SAMPLE_RATE / len(inner) == pytest.approx(200, abs=3)
    assert inner.std() == pytest.approx(tone().std(), rel=0.1)


def test_a_click_moves_as_the_factor_says():
    wave = tone() * 0.01
    wave[int(0.5 * SAMPLE_RATE) :][:30] = 1
    for factor in (0.8, 1.3):
        at = np.abs(stretched(wave, factor)).argmax() / SAMPLE_RATE
        assert at == pytest.approx(0.5 * factor, abs=0.04)


def test_a_pace_that_changes_on_the_way():
    wave = tone() * 0.01
    wave[int(0.5 * SAMPLE_RATE) :][:30] = 1
    made = stretched(wave, [0.7, 1.3])  # fast at first: the middle comes early
    assert len(made) == SAMPLE_RATE
    assert np.abs(made).argmax() / SAMPLE_RATE < 0.46


@pytest.mark.parametrize("arguments", [(np.zeros((2, 9)), 1), (tone(), 3.0), (np.zeros(0), 1)])
def test_what_cannot_be_is_refused(arguments):
    with pytest.raises(ValueError, match="expected a wave"):
        stretched(*arguments)
