"""The same voice, slower or faster: pitch and formants stay.

input -> output: wave (samples,) at 16 kHz, a factor -> wave (about samples x factor,).
Special: WSOLA (Verhelst and Roelands 1993). Windows of 40 ms are taken from where the factor says
and laid down 20 ms apart; each is moved by up to 7.5 ms to where it goes on best from the one
before.
"""

import numpy as np

STEP = 320  # samples between windows that are laid down: 20 ms
REACH = 120  # samples that a window may be moved by: 7.5 ms
FADE = np.hanning(2 * STEP + 1)[:-1].astype(np.float32)  # two of them, a step apart, add up to 1


def stretched(wave, factor):
    """A wave (samples,) that takes `factor` times as long, (round(samples x factor),) float32.

    factor: a number, or (steps,) of them, how it changes on the way, evenly spread over the wave.
    Raises ValueError for factors outside 0.4 to 2.5, where words break.
    """
    wave = np.asarray(wave, dtype=np.float32)
    factors = np.atleast_1d(np.asarray(factor, dtype=float))
    if wave.ndim != 1 or not wave.size or factors.min() < 0.4 or factors.max() > 2.5:
        raise ValueError(
            f"expected a wave (samples,) and factors from 0.4 to 2.5, got {wave.shape} and "
            f"{factors.min():g} to {factors.max():g}"
        )
    if wave.size < 4 * STEP:
        return wave.copy()  # too short to lay windows side by side
    size = round(wave.size * factors.mean())
    # where each window comes from: time runs 1 / factor as fast here
    way = np.interp(np.linspace(0, 1, size // STEP + 2), np.linspace(0, 1, len(factors)), factors)
    places = np.concatenate([[0], np.cumsum(1 / way)[:-1]])
    places *= wave.size / (places[-1] + 1 / way[-1])
    track = np.pad(wave, (STEP + REACH, 3 * STEP + REACH))
    made = np.zeros((len(places) + 1) * STEP, np.float32)
    last = None
    for n, place in enumerate(places.astype(int)):
        if last is not None:
            goes_on = track[last + STEP : last + 2 * STEP]
            near = track[place : place + STEP + 2 * REACH]
            place += int(np.correlate(near, goes_on, "valid").argmax())
        else:
            place += REACH
        made[n * STEP : (n + 2) * STEP] += track[place : place + 2 * STEP] * FADE
        last = place
    return made[STEP : STEP + size]
