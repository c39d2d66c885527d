"""Loading files of every kind, and the log-mel beside the published extractors."""

import io
import os

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlib import audio, sound_files

TOLERANCE = 1e-4
RATE = audio.SAMPLE_RATE


def speechlike(samples, seed=0):
    """A gliding tone with overtones and pauses in a little noise: (samples,) float32."""
    t = np.arange(samples) / RATE
    phase = 2 * np.pi * (120 * t + 15 * np.sin(2 * t))
    tone = sum(np.sin(k * phase) / k for k in range(1, 12)) * np.clip(np.sin(7 * t), 0, 1)
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (0.1 * tone + 0.003 * noise).astype(np.float32)


# ------------------------------------------------------------------------------------ log-mel

SIGNALS = {
    "speechlike": speechlike,
    "noise": lambda n: np.random.default_rng(1).standard_normal(n).astype(np.float32) / 5,
    "quiet": lambda n: np.random.default_rng(1).standard_normal(n).astype(np.float32) * 1e-5,
    "silence": lambda n: np.zeros(n, np.float32),
    "constant": lambda n: np.full(n, 0.5, np.float32),
    "click at the end": lambda n: (np.arange(n) == n - 1).astype(np.float32),
    "tone": lambda n: np.sin(0.173 * np.arange(n)).astype(np.float32),
}
LENGTHS = [1, 399, RATE + 1, 30 * RATE - 500, 30 * RATE, 31 * RATE + 7]  # samples


@pytest.mark.parametrize("mel_bins", [80, 128])
@pytest.mark.parametrize("signal", SIGNALS)
def test_log_mel_equals_the_published_extractors(signal, mel_bins):
    whisper = pytest.importorskip("whisper.audio")
    transformers = pytest.importorskip("transformers")
    extractor = transformers.WhisperFeatureExtractor(feature_size=mel_bins)
    for samples in LENGTHS:
        wave = SIGNALS[signal](samples)
        ours = audio.log_mel(wave, mel_bins)
        hugging_face = extractor(wave, sampling_rate=RATE, return_tensors="np")
        openai = whisper.log_mel_spectrogram(whisper.pad_or_trim(wave), mel_bins).numpy()
        assert ours.dtype == np.float32 and ours.shape == (mel_bins, 3000)
        assert np.abs(ours - hugging_face["input_features"][0]).max() < TOLERANCE
        assert np.abs(ours - openai).max() < TOLERANCE


@pytest.mark.parametrize("samples", [201, 1000, 16_159, 16_160, 100_001])
def test_log_mel_without_padding_equals_openai(samples):
    whisper = pytest.importorskip("whisper.audio")
    wave = speechlike(samples)
    ours = audio.log_mel(wave, pad_to_seconds=None)
    theirs = whisper.log_mel_spectrogram(wave).numpy()
    assert ours.shape == theirs.shape == (80, samples // 160)
    assert np.abs(ours - theirs).max() < TOLERANCE


def test_mel_filters_equal_librosas():
    librosa = pytest.importorskip("librosa")
    for mel_bins in (40, 80, 128):
        theirs = librosa.filters.mel(sr=RATE, n_fft=400, n_mels=mel_bins)
        assert np.abs(audio.mel_filters(mel_bins) - theirs).max() < 1e-7


@settings(max_examples=30, deadline=None)
@given(samples=st.integers(1, 40_000), seed=st.integers(0, 99))
def test_the_repeated_silence_is_what_would_be_computed(samples, seed):
    wave = speechlike(samples, seed)
    padded = audio.pad_or_cut(wave, 3 * RATE)
    whole = audio.log_mel_from_power(audio.stft_power(padded)[:, :-1], audio.mel_filters())
    np.testing.assert_allclose(audio.log_mel(wave, pad_to_seconds=3), whole, atol=1e-6)


def test_the_window_of_the_digits_model():
    assert audio.log_mel(speechlike(RATE), pad_to_seconds=6).shape == (80, 600)
    assert audio.log_mel(speechlike(9 * RATE), pad_to_seconds=6).shape == (80, 600)


def test_float64_and_int16_give_the_features_of_float32():
    whole = (speechlike(RATE) * 32768).astype(np.int16)
    expected = audio.log_mel(whole.astype(np.float32) / 32768)
    np.testing.assert_array_equal(audio.log_mel(whole), expected)
    np.testing.assert_array_equal(audio.log_mel(whole / 32768.0), expected)


def test_half_precision_and_tensors_that_learn_are_waves(recwarn):
    half = speechlike(800).astype(np.float16)
    wave = audio.as_wave(half)
    assert wave.dtype == np.float32 and not recwarn.list
    np.testing.assert_array_equal(wave, half)
    for tensor in (torch.from_numpy(half), torch.from_numpy(wave)):
        np.testing.assert_array_equal(audio.as_wave(tensor.requires_grad_()), half)
    with pytest.raises(ValueError, match="came Tensor that NumPy cannot read: give .* float32"):
        audio.as_wave(torch.zeros(800, dtype=torch.bfloat16))


def test_what_is_soft_beside_a_loud_tone_is_not_rounded_away():
    """The rounding of a float32 transform shows 70 dB below the tone."""
    wave = np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE).astype(np.float32)
    pieces = audio.frames(np.pad(wave, 200, mode="reflect").astype(np.float64))
    exact = np.abs(np.fft.rfft(pieces * audio.hann_window())).T ** 2
    np.testing.assert_allclose(audio.stft_power(wave), exact, rtol=1e-4, atol=1e-12)


def test_a_loud_neighbour_in_a_batch_does_not_lift_the_floor():
    power = np.random.default_rng(0).random((2, 4, 5), np.float32) ** 20
    power[1] *= 1e4
    before = power.copy()
    alone = np.stack([audio.log_scaled(row) for row in power])
    np.testing.assert_array_equal(audio.log_scaled(power), alone)
    np.testing.assert_array_equal(power, before)


def test_the_input_is_not_changed():
    wave = speechlike(RATE)
    before = wave.copy()
    audio.log_mel(wave)
    audio.normalise(wave)
    np.testing.assert_array_equal(wave, before)
    with pytest.raises(ValueError, match="read-only"):
        audio.mel_filters()[0, 0] = 1  # everybody's table
    with pytest.raises(ValueError, match="read-only"):
        audio.hann_window()[0] = 1


@pytest.mark.parametrize(
    ("wave", "arguments", "message"),
    [
        (np.zeros((2, 100)), {}, r"mono wave \(samples,\).*\(2, 100\): average the channels"),
        (np.zeros(0), {}, r"with samples in it, came shape \(0,\)"),
        (np.array([0, np.nan, np.inf]), {}, "2 of 3 are NaN or infinite: remove them"),
        (np.array([0, -np.inf]), {}, "1 of 2 are NaN or infinite"),
        (np.array([0.5, -1e13]), {}, r"full scale 1, came 1e\+13"),
        (np.array(["a"]), {}, "floats or signed whole numbers, came <U1"),
        (np.zeros(100), dict(pad_to_seconds=None), "one hop of 160 samples .*, came 100: record"),
        (np.zeros(999), dict(mel_bins=0), "at least 1 mel bin, came 0"),
    ],
)
def test_log_mel_says_what_it_cannot_take(wave, arguments, message):
    with pytest.raises(ValueError, match=message):
        audio.log_mel(wave, **arguments)


def test_frames_are_a_view_and_need_a_whole_window():
    wave = np.arange(10.0)
    pieces = audio.frames(wave, window=4, hop=3)
    assert pieces.tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    assert np.shares_memory(pieces, wave)
    with pytest.raises(ValueError, match="one window of 11 samples, came 10: pad"):
        audio.frames(wave, window=11, hop=3)


def test_shifted_hann_windows_add_up_evenly():
    window = audio.hann_window(400)
    np.testing.assert_allclose(window[:200] + window[200:], 1)


@given(st.floats(0, 8000))
def test_mel_and_back(hz):
    np.testing.assert_allclose(audio.mel_to_hz(audio.hz_to_mel(hz)), hz, atol=1e-9)


# ---------------------------------------------------------------------------------- normalise


def test_normalise_equals_the_published_extractor():
    transformers = pytest.importorskip("transformers")
    extractor = transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=True)
    waves = [speechlike(n) + 0.1 for n in (16_000, 9_000, 400)]
    theirs = extractor(waves, sampling_rate=RATE, padding=True, return_tensors="np")
    padded = np.stack([audio.pad_or_cut(wave, 16_000) for wave in waves])
    ours = audio.normalise(padded, lengths=[16_000, 9_000, 400])
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, theirs["input_values"], atol=1e-5)
    np.testing.assert_allclose(audio.normalise(waves[1]), ours[1, :9000], atol=1e-5)
    assert (audio.normalise(np.zeros(50)) == 0).all()


@pytest.mark.parametrize("lengths", [[3], [3, 11], [0, 3]])
def test_normalise_says_which_lengths_it_expects(lengths):
    with pytest.raises(ValueError, match="expected 2 lengths from 1 to 10 samples, came"):
        audio.normalise(np.ones((2, 10)), lengths)


# --------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 44_100, 48_000])
@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_load_any_kind_and_rate(tmp_path, kind, rate):
    t = np.arange(rate) / rate  # one second
    sound = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(tmp_path / f"a.{kind}", np.stack([sound, 0.5 * sound], axis=1), rate)
    wave = audio.load(tmp_path / f"a.{kind}")
    assert wave.dtype == np.float32 and wave.ndim == 1 and wave.flags.c_contiguous
    assert abs(len(wave) - RATE) <= 1
    middle = slice(4000, 12_000)
    expected = 0.375 * np.sin(2 * np.pi * 440 * np.arange(len(wave)) / RATE)  # mean of both
    worst = 0.05 if kind in ("ogg", "mp3") else 1e-3  # what a lossy codec may change
    assert np.abs(wave[middle] - expected[middle]).max() < worst


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "ULAW"])
def test_load_any_sample_format(tmp_path, subtype):
    wave = speechlike(RATE)
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype=subtype)
    loaded = audio.load(str(tmp_path / "a.wav"))  # a name will do as well as a path
    assert np.abs(loaded - wave).max() < {"PCM_U8": 0.01, "ULAW": 0.01}.get(subtype, 1e-4)


def test_what_16_khz_cannot_hold_is_filtered_out(tmp_path):
    tone = 0.5 * np.sin(2 * np.pi * 11_000 * np.arange(44_100) / 44_100)
    soundfile.write(tmp_path / "high.wav", tone, 44_100, subtype="FLOAT")
    assert np.abs(audio.load(tmp_path / "high.wav")[500:-500]).max() < 1e-4


def whole_file(kind):
    data = io.BytesIO()
    soundfile.write(data, speechlike(3 * RATE), RATE, format=kind)
    return data.getvalue()


def assert_one_line(path, *expected):
    with pytest.raises(ValueError) as caught:
        audio.load(path)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and len(message) < 300 + len(str(path))
    for part in expected:
        assert part in message, message


def test_missing_folder_and_empty(tmp_path):
    assert_one_line(tmp_path / "no.wav", "does not exist", "check the name")
    assert_one_line(tmp_path, "is a folder", "name a file in it")
    (tmp_path / "empty.wav").touch()
    assert_one_line(tmp_path / "empty.wav", "empty (0 bytes)", "again")
    assert_one_line(tmp_path / ("long" * 200), "cannot be opened")
    with pytest.raises(ValueError, match="name of a sound file, but it is empty"):
        audio.load("")


@pytest.mark.skipif(os.name == "nt", reason="no such pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    assert_one_line(tmp_path / "pipe.wav", "is a pipe", "save the sound as a file")


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3", "raw", "m4a", ""])
def test_not_audio(tmp_path, kind, capfd):
    path = tmp_path / f"a.{kind}"
    random = np.random.default_rng(0).bytes(20_000)
    for content in (b"no sound at all\n" * 99, random, bytes(999), b"x"):
        path.write_bytes(content)
        assert_one_line(path, "expected a sound file (wav, flac, ogg and mp3)", "convert it")
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_truncated(tmp_path, kind, share, capfd):
    content, path = whole_file(kind), tmp_path / f"a.{kind}"
    path.write_bytes(content[: int(share * len(content))])
    assert_one_line(path, "again")
    assert capfd.readouterr().err == ""  # no remarks of the decoder's own


@pytest.mark.parametrize("kind", ["flac", "ogg", "mp3"])
def test_corrupt(tmp_path, kind, capfd):
    content, path = bytearray(whole_file(kind)), tmp_path / f"a.{kind}"
    third = len(content) // 3
    content[third : 2 * third] = np.random.default_rng(0).bytes(third)
    path.write_bytes(content)
    assert_one_line(path, "corrupt", "again")
    assert capfd.readouterr().err == ""


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_no_damage_to_an_ogg_file_goes_unseen(tmp_path_factory, data):
    content = bytearray(whole_file("ogg"))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path = tmp_path_factory.mktemp("ogg") / "a.ogg"
    path.write_bytes(content)
    with pytest.raises(ValueError):
        audio.load(path)


def test_an_ogg_file_that_ends_between_two_pages(tmp_path):
    content = whole_file("ogg")
    (tmp_path / "a.ogg").write_bytes(content[: content.rindex(b"OggS")])
    assert_one_line(tmp_path / "a.ogg", "truncated", "last page is missing")


def test_a_wav_file_of_unknown_length_is_read(tmp_path):
    """What a program writes that streams and cannot go back to fill in the size."""
    content = bytearray(whole_file("wav"))
    place = content.index(b"data") + 4
    content[place : place + 4] = b"\xff" * 4
    (tmp_path / "a.wav").write_bytes(content)
    assert len(audio.load(tmp_path / "a.wav")) == 3 * RATE


def test_an_mp3_file_that_does_not_say_how_long_it_is(tmp_path):
    """Without the Xing/Info frame the length is guessed; a guess that is too short is an error."""
    t = np.arange(3 * RATE)
    wave = np.random.default_rng(0).standard_normal(len(t)) * np.where(t < RATE, 0.3, 1e-4)
    data = io.BytesIO()
    with soundfile.SoundFile(
        data, "w", RATE, 1, format="MP3", bitrate_mode="VARIABLE", compression_level=0.3
    ) as file:
        file.write(wave)
    content = data.getvalue()
    frame = content.index(b"\xff", content.index(b"Xing"))  # of Xing's own frame, cut off here
    path = tmp_path / "a.mp3"
    path.write_bytes(content)
    assert len(audio.load(path)) == 3 * RATE
    path.write_bytes(content[frame:])
    assert_one_line(path, "does not say how long it is", "convert it to wav")


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_zero_length(tmp_path, kind):
    soundfile.write(tmp_path / f"a.{kind}", np.zeros(0), RATE)
    assert_one_line(tmp_path / f"a.{kind}", "again")
    soundfile.write(tmp_path / "one.wav", np.zeros(1), 48_000)
    assert_one_line(tmp_path / "one.wav", "zero length (1 samples at 48000 Hz)", "record")


def test_samples_that_are_not_finite(tmp_path):
    wave = speechlike(RATE)
    wave[[8000, 8001]] = np.nan, np.inf
    soundfile.write(tmp_path / "a.wav", wave, RATE, subtype="FLOAT")
    assert_one_line(tmp_path / "a.wav", "2 of 16000 are NaN or infinite", "at 0.500 s", "export")


def test_silence_is_sound(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    assert (audio.load(tmp_path / "a.wav") == 0).all()


def test_what_stands_in_a_message_is_what_is_read():
    assert all(kind in sound_files.READS for kind in ("wav", "flac", "ogg", "mp3"))


@pytest.mark.parametrize("path", [None, 3, b"sound.wav"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="expected the path of a sound file"):
        audio.load(path)


@pytest.mark.parametrize(
    "wrong", [dict(mel_bins=80.5), dict(pad_to_seconds="3"), dict(pad_to_seconds=float("nan"))]
)
def test_settings_of_another_kind_are_refused(wrong):
    with pytest.raises(ValueError, match="^expected "):
        audio.log_mel(np.ones(800), **wrong)


@pytest.mark.parametrize("wave", [[[1.0], [2.0, 3.0]], (np.ones(3), 16_000), np.full(9, 1e20)])
def test_odd_waves_are_refused(wave):
    with pytest.raises(ValueError, match="^expected "):
        audio.as_wave(wave)


def test_whole_numbers_and_back():
    wave = np.float32([0.5, -1.0, 0.0, 0.99997])
    assert audio.to_int16(wave).tolist() == [16384, -32768, 0, 32767]
    assert np.abs(audio.as_wave(audio.to_int16(wave)) - wave).max() <= 2**-15
    assert audio.to_int16([1.02, -1.3]).tolist() == [32767, -32768]  # never wraps
    assert audio.to_int16([0.7 / 32768, -0.7 / 32768]).tolist() == [1, -1]  # to the nearest
