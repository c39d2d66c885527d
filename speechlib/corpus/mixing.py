"""Training examples mixed on the fly: clips -> strings of digits in rooms that never existed.

input -> output: clips as power spectrograms and a seed -> log-mel (mel bins, mel frames), words
and where they are.
Special: everything happens on power, before the logarithm. A voice with a longer
throat is a stretched frequency axis, stretched unevenly, since throat and mouth differ by
themselves; a slower speaker is a stretched time axis, uneven as well. A room is a decaying echo
over frames, a telephone is a cut above 3.4 kHz, noise adds up. That costs milliseconds, so that
every step sees new examples.

Sources: vocal tract length perturbation, Jaitly and Hinton 2013; mixing and rooms, Ko et al. 2017.
"""

from dataclasses import dataclass, replace

import numpy as np
import scipy.ndimage
import scipy.signal
import scipy.sparse

from speechlib import audio

FREQUENCIES = audio.WINDOW // 2 + 1  # 0 to 8000 Hz in steps of 40 Hz
LOW_RATE = FREQUENCIES // 2  # what is left of the frequencies at 8 kHz, as of a telephone
HOP_S = audio.HOP / audio.SAMPLE_RATE
LENGTHS = (0.35, 0.2, 0.15, 0.15, 0.1, 0.05)  # how often a string has 1, 2, ... 6 digits
# a room and noise as a microphone at home gives them: settings of `Mix` for the end of a training
GENTLE = {"rooms": 0.2, "clean": 0.35, "least_snr_db": 8.0}
FITTING = 6  # tries to find a clip that is no longer than the window


@dataclass(frozen=True)
class Clip:
    """One recording to mix from: a digit, a spoken string, or something without digits."""

    power: np.ndarray  # (frequencies, frames) float16, fourth root of the power
    words: tuple[str, ...]
    group: str  # "real", "synthetic", "string" or "other"
    voice: str
    spans: tuple[tuple[float, float], ...]  # where each word is: shares of the clip's length


def clip_of(wave, words, group, voice, times=None) -> Clip:
    """A wave (samples,) at 16 kHz -> a clip. The fourth root keeps small powers in float16.

    times: (start_s, end_s) of each word; None: the words share the clip evenly.
    """
    seconds, count = len(wave) / audio.SAMPLE_RATE, len(words)
    times = times or [(seconds * n / count, seconds * (n + 1) / count) for n in range(count)]
    spans = tuple((start / seconds, min(1.0, end / seconds)) for start, end in times)
    if len(wave) < audio.WINDOW:
        wave = np.pad(wave, (0, audio.WINDOW - len(wave)))
    power = audio.stft_power(wave.astype(np.float32)) ** 0.25
    return Clip(power.astype(np.float16), tuple(words), group, voice, spans)


def favoured(clips, voices, times, groups):
    """The clips, and further copies of those in `groups` whose voice begins with one of `voices`:
    such a voice is drawn `times` times as often, each copy being a voice of its own."""
    return clips + [
        replace(clip, voice=f"{clip.voice}+{copy}")
        for clip in clips
        if clip.voice.startswith(voices) and clip.group in groups
        for copy in range(1, times)
    ]


@dataclass(frozen=True, kw_only=True)
class Mix:
    """How examples are put together; shares are relative."""

    mel_bins: int = 80
    mel_frames: int = 600  # 6 s
    real: float = 0.34  # strings of single digits that people spoke
    synthetic: float = 0.18  # strings of single synthetic digits
    string: float = 0.36  # strings that a synthesiser spoke in one breath
    other: float = 0.08  # words without digits: nothing is to be written
    silence: float = 0.04  # nothing, or only noise
    rooms: float = 0.35  # share of examples with an echo
    clean: float = 0.25  # share of examples without any noise
    least_snr_db: float = 3.0  # of the other examples; the best is 45 dB
    # share of clips that nobody else says: stretching blurs sudden sounds, a t say
    as_recorded: float = 0.2
    cut_close: bool = True  # single words are cut as by hand or by a program, into soft sounds, too


class Mixer:
    """Makes example number i of a run, always the same for the same seed and i."""

    def __init__(self, clips, mix=None, seed=0):
        self.mix = mix or Mix()
        self.seed = seed
        self.groups = {g: {} for g in ("real", "synthetic", "string", "other")}
        for clip in clips:
            self.groups[clip.group].setdefault(clip.voice, []).append(clip)
        filters = audio.mel_filters(self.mix.mel_bins)
        self.centres = filters.argmax(axis=1) * audio.SAMPLE_RATE / audio.WINDOW  # Hz
        # nearly all zeros; and NumPy's own threads would stand in the way of the model's
        self.filters = scipy.sparse.csr_array(filters)
        white = np.random.default_rng(seed).standard_normal(60 * audio.SAMPLE_RATE)
        hiss = self.filters @ audio.stft_power(white.astype(np.float32))
        self.hiss = hiss / hiss.mean()  # a minute of white noise to cut from
        shares = {"silence": self.mix.silence}
        shares |= {g: getattr(self.mix, g) for g, voices in self.groups.items() if voices}
        total = sum(shares.values())
        self.kinds, self.shares = list(shares), [share / total for share in shares.values()]
        self.voices = {g: list(voices) for g, voices in self.groups.items()}
        # a person with more recordings is heard more often, but not as much more often
        self.drawn = {g: np.cumsum([len(clips) ** 0.5 for clips in voices.values()])
                      for g, voices in self.groups.items()}  # fmt: skip

    def example(self, number, mix=None):
        """-> log-mel (mel bins, mel frames) float32, and the words in it: a list of
        (word, first mel frame, end mel frame). mix: another window or other noise for once."""
        mix = mix or self.mix
        rng = np.random.default_rng((self.seed, number))
        kind = rng.choice(self.kinds, p=self.shares)
        power = np.zeros((mix.mel_bins, mix.mel_frames), dtype=np.float32)
        words = [] if kind == "silence" else self._speak(power, kind, mix, rng)
        power = self.recorded(power, mix, rng)
        power *= 10 ** rng.uniform(-3.5, 1.0)  # the recording's level: -35 to +10 dB
        return audio.log_scaled(power).astype(np.float32), words

    def recorded(self, power, mix, rng):
        """What a microphone makes of mel power (mel bins, mel frames): a room, noise, a channel."""
        power = _in_a_room(power, rng) if rng.random() < mix.rooms else power
        loud = _loudness(power) or 0.1
        power = power + self._background(loud, mix, rng)
        return self._through_a_channel(power, rng)

    def spoken(self, clip, person, mix, rng):
        """A clip said by this person -> mel power (mel bins, frames), its (word, first frame, end
        frame)."""
        if rng.random() < mix.as_recorded:
            warped = clip.power.astype(np.float32) ** 4
            heard = np.linspace(0, 1, warped.shape[1])
        else:
            warped, heard = _warped(clip.power, person, rng)
        spans = np.searchsorted(heard, clip.spans).reshape(-1, 2)  # frames of this sound
        return self.filters @ warped, [
            (word, int(start), int(end))
            for word, (start, end) in zip(clip.words, spans, strict=True)
        ]

    def _speak(self, power, kind, mix, rng):
        """Writes clips one after another into power; returns the words and their frames."""
        voice = self._voice(kind, rng)
        count = rng.choice(6, p=LENGTHS) + 1 if kind in ("real", "synthetic") else 1
        person = Person.drawn(rng)
        place, words = int(rng.integers(0, 60)), []
        tight = rng.random() < 0.25  # some people leave no gaps
        for _ in range(count):
            if rng.random() < 0.1:
                voice = self._voice(kind, rng)
            clips = self.groups[kind][voice]
            clip = clips[rng.integers(len(clips))]
            for _ in range(FITTING):  # a short window wants a short clip
                if words or clip.power.shape[1] * person.duration < 0.9 * power.shape[1]:
                    break
                clip = clips[rng.integers(len(clips))]
            if mix.cut_close and len(clip.words) == 1:
                clip = replace(clip, power=_cut_close(clip.power, rng))
            sound, heard = self.spoken(clip, person, mix, rng)
            size = sound.shape[1]
            if place + size > power.shape[1]:
                if words or size > power.shape[1]:
                    break
                place = power.shape[1] - size
            power[:, place : place + size] += sound
            words += [(word, place + start, place + end) for word, start, end in heard]
            place += size + int(rng.integers(0, 8 if tight else 60))
        return words

    def _voice(self, kind, rng):
        """One of the kind's voices, by the square root of how many clips it has."""
        drawn = self.drawn[kind]
        return self.voices[kind][np.searchsorted(drawn, rng.random() * drawn[-1], "right")]

    def _background(self, speech, mix, rng):
        """Hiss of any colour, hum, sometimes people, below the power of the speech."""
        if rng.random() < mix.clean:
            return 0.0  # a digitally silent background exists as well
        bins, frames = mix.mel_bins, mix.mel_frames
        first = int(rng.integers(self.hiss.shape[1] - frames))
        colour = _smooth(rng, bins, 8, 6.0) - np.linspace(0, rng.uniform(0, 30), bins)
        colour = 10 ** (colour / 10)
        change = 10 ** (_smooth(rng, frames, 12, 2.0) / 10)
        noise = self.hiss[:, first : first + frames] * (colour / colour.mean())[:, None] * change
        if rng.random() < 0.1:  # mains hum and its overtones
            hum = rng.choice([50, 60]) * np.arange(1, 6)
            noise[np.abs(self.centres[:, None] - hum).argmin(axis=0)] += 10
        noise *= speech * 10 ** -rng.uniform(mix.least_snr_db / 10, 4.5)
        if self.groups["other"] and rng.random() < 0.15:
            noise += self._babble(frames, rng) * speech * 10 ** -rng.uniform(1.0, 3.0)
        return noise.astype(np.float32)

    def _babble(self, frames, rng):
        """Somebody talking in the background, loudness 1."""
        voices = list(self.groups["other"].values())
        track = np.zeros((self.mix.mel_bins, frames), dtype=np.float32)
        for _ in range(3):
            clips = voices[rng.integers(len(voices))]
            root = clips[rng.integers(len(clips))].power[:, : track.shape[1]]
            place = int(rng.integers(0, track.shape[1] - root.shape[1] + 1))
            track[:, place : place + root.shape[1]] += self.filters @ root.astype(np.float32) ** 4
        return track / (_loudness(track) or 1.0)

    def _through_a_channel(self, power, rng):
        """A microphone's colour; a telephone's or an old sampling rate's upper limit."""
        power = power * (10 ** (_smooth(rng, len(power), 10, 3.0) / 10)).astype(np.float32)[:, None]
        if rng.random() < 0.5:
            limit = rng.choice([3400, 3800, 4000, 4000, 5500, 7000]) + rng.uniform(-100, 100)
            power[self.centres > limit] *= 10 ** rng.uniform(-9, -4)
        if rng.random() < 0.2:
            power[self.centres < rng.uniform(60, 300)] *= 10 ** rng.uniform(-3, -1)
        return power


def _loudness(power):
    """Mean power of the frames that hold a sound; 0 where there is none."""
    frames = power.mean(axis=0)
    heard = frames[frames > 1e-3 * frames.max()]
    return float(heard.mean()) if len(heard) else 0.0


@dataclass(frozen=True)
class Person:
    """One imagined speaker."""

    tract: np.ndarray  # (frequencies,): where each frequency is taken from, in steps of 40 Hz
    pitch: np.ndarray  # the same for the harmonics, which stand apart by the pitch
    buzz: float  # how much the harmonics stand out: 0 a whisper, 1 as in the clip
    duration: float
    tilt: float  # dB from the middle to the highest frequency

    @classmethod
    def drawn(cls, rng):
        """A vocal tract up to a fifth shorter or longer, with formants that move by themselves,
        another pitch, a clearer or hoarser voice, another pace."""
        length, places = rng.uniform(0.82, 1.22), np.arange(FREQUENCIES)
        scale = length * np.exp(_smooth(rng, FREQUENCIES, 7, 0.05))
        pitch = np.minimum(places / (length * np.exp(rng.normal(0, 0.15))), FREQUENCIES - 1)
        tract = np.maximum.accumulate(places / scale)
        buzz, duration = rng.uniform(0.4, 1.2), rng.uniform(0.65, 1.35)
        return cls(tract, pitch, buzz, duration, rng.uniform(-8.0, 8.0))


def _cut_close(root, rng):
    """Recordings of single words are often cut where a soft sound, an s say, has hardly begun: by
    hand, or by a program, wherever it is quieter than a threshold (and an s of low rates is)."""
    way = rng.random()
    if way < 0.3:
        first, last = rng.integers(0, 1 + root.shape[1] // 8, 2)
        return root[:, first : root.shape[1] - last]
    if way < 0.65:
        loudness = (root[:LOW_RATE].astype(np.float32) ** 4).sum(axis=0)
        heard = np.flatnonzero(loudness >= 10 ** rng.uniform(-3.5, -1.2) * loudness.max())
        return root[:, heard[0] : heard[-1] + 1]
    return root


def _warped(root, person, rng):
    """A clip's fourth root of power -> power (frequencies, frames) of another speaker, and where
    in the clip each of these frames is taken from, as shares of its length (frames,)."""
    frames = max(8, round(root.shape[1] * person.duration * rng.uniform(0.92, 1.08)))
    pace = np.cumsum(np.exp(_smooth(rng, frames, 5, 0.25)))  # no two takes go at the same pace
    shares = (pace - pace[0]) / (pace[-1] - pace[0])
    root = _between(root.astype(np.float32).T, shares * (root.shape[1] - 1)).T
    # formants: the spectrum smoothed over 280 Hz; harmonics: what stands out of it
    formants = scipy.ndimage.uniform_filter1d(root, 7, axis=0) + 1e-9
    harmonics = _between((root / formants) ** person.buzz, person.pitch)
    power = (_between(formants, person.tract) * harmonics) ** 4
    power[person.tract > FREQUENCIES - 1] *= 0.01  # nothing is known above: faint, not full
    slope = person.tilt * np.linspace(-1, 1, FREQUENCIES) + rng.uniform(-6, 6)
    return power * (10 ** (slope / 10)).astype(np.float32)[:, None], shares


def _between(rows, at):
    """Rows at places that need not be whole numbers: linear between neighbours, held at the end."""
    low = np.clip(at.astype(int), 0, max(0, len(rows) - 2))
    share = np.clip(at - low, 0, 1).astype(np.float32)[:, None]
    return rows[low] * (1 - share) + rows[np.minimum(low + 1, len(rows) - 1)] * share


def _in_a_room(power, rng):
    """An echo: frames decay by 60 dB within 0.15 to 0.8 s."""
    decay = 10 ** (-6 * HOP_S / rng.uniform(0.15, 0.8))
    level = 10 ** rng.uniform(-2.0, -0.5)
    echo = scipy.signal.lfilter([0, level * decay], [1, -decay], power, axis=1)
    return power + echo.astype(np.float32)


def _smooth(rng, size, points, spread):
    """A random smooth curve (size,), in dB."""
    knots = rng.normal(0.0, spread, points)
    return np.interp(np.linspace(0, points - 1, size), np.arange(points), knots)
