"""Commands, numbers, conversations and noise: are they whole, true, apart and made again alike?"""

import hashlib
import json

import numpy as np
import pytest

from speechlib import audio, cli, corpus, paths
from speechlib.corpus import grammar, sets, synthesisers
from speechlib.corpus.cast import cast, everyone
from speechlib.corpus.noise import KINDS, disturb
from speechlib.corpus.voices import TIMBRES

READERS = {
    "commands": lambda split=None: corpus.commands(split, kind=None),
    "numbers": corpus.numbers,
    "conversations": corpus.conversations,
}


def lacking():
    try:
        synthesisers.require(cast())
    except ValueError as error:
        return str(error)
    return ""


needs_synthesisers = pytest.mark.skipif(bool(lacking()), reason=lacking())


# -- what is shipped -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sets.SETS)
def test_every_file_is_as_it_was_made(name):
    folder = paths.data_folder() / name
    listed = dict(reversed(row.split()) for row in (folder / "SHA256SUMS").read_text().splitlines())
    found = {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
             for file in folder.glob("*/*")}
    assert found == listed
    assert sorted(listed) == sorted(u.path.relative_to(folder).as_posix() for u in READERS[name]())


def test_all_sounds_are_within_12_megabytes():
    sounds = [file for name in ("digits", *sets.SETS)
              for file in (paths.data_folder() / name).rglob("*.ogg")]
    assert sum(file.stat().st_size for file in sounds) <= 12_000_000


@pytest.mark.parametrize("name", sets.SETS)
def test_no_timbre_is_in_two_splits_here_or_among_the_digits(name):
    splits = {}
    for people in (corpus.speakers(name), corpus.speakers("digits")):
        for voice in people.values():
            splits.setdefault(voice["timbre"], set()).add(voice["split"])
    assert all(len(found) == 1 for found in splits.values())
    people = corpus.speakers(name)
    for utterance in READERS[name]():
        heard = [utterance.voice] if utterance.voice else [turn[0] for turn in utterance.turns]
        assert heard and {people[voice]["split"] for voice in heard} == {utterance.split}


def test_there_are_enough_voices_to_tell_apart():
    found = corpus.voice_clips()
    assert len(found) == len(cast()) >= 60
    parts = [set(corpus.voice_clips(split)) for split in ("train", "valid", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(found)
    assert all(len(clips) >= 6 for clips in found.values())
    assert len(parts[2]) >= 16


@pytest.mark.parametrize("name", sets.SETS)
def test_times_are_in_order_and_inside(name):
    for utterance in READERS[name]():
        assert utterance.words and utterance.phones
        for spans in (utterance.words, utterance.phones, utterance.turns):
            starts = [start for _, start, _ in spans]
            assert starts == sorted(starts)
            assert all(0 <= start < end <= utterance.duration_s for _, start, end in spans)
        said = " ".join(word for word, _, _ in utterance.words)
        if utterance.kind == "conversation":  # words of two people may mix
            assert sorted(said.split()) == sorted(utterance.text.split())
        else:
            assert said == utterance.text.replace("-", " ")
        for _, start, end in utterance.words:
            assert [p for p in utterance.phones if start - 1e-6 <= p[1] and p[2] <= end + 1e-6]


def test_each_split_has_each_keyword_and_train_has_each_number_and_word():
    for split in ("train", "valid", "test"):
        keywords = [u.text for u in corpus.commands(split, kind="keyword")]
        assert set(keywords) == set(grammar.KEYWORDS)
    assert {u.text for u in corpus.numbers("train")} == {"-".join(grammar.english(n))
                                                       for n in range(100)}
    assert {u.text for u in corpus.numbers("test")} == {u.text for u in corpus.numbers("train")}
    heard = {word for u in corpus.commands("train") for word in u.text.split()}
    assert heard == grammar.command_words() and 30 <= len(heard) <= 45


def card_row(name):
    """How the data card begins its row on a set."""
    found = READERS[name]()
    seconds = round(sum(u.duration_s for u in found))
    counts = " / ".join(str(sum(u.split == split for u in found))
                        for split in ("train", "valid", "test"))
    size = sum(u.path.stat().st_size for u in found) / 1e6
    return f"| `{name}/` | {counts} | {seconds} | {size:.1f} MB |"


@pytest.mark.parametrize("name", sets.SETS)
def test_the_data_card_has_the_figures(name):
    assert card_row(name) in (paths.data_folder() / "README.md").read_text("utf-8")


# -- conversations -------------------------------------------------------------------------------


def test_sound_is_where_somebody_speaks():
    both = total = 0
    for talk in corpus.conversations():
        voices, spoken = talk.who_spoke_when()
        assert len(voices) == 2 and spoken.shape == (len(spoken), 2)
        wave = talk.wave()
        hop = audio.SAMPLE_RATE // 100
        frames = min(len(wave) // hop, len(spoken))
        power = np.square(wave[: frames * hop].reshape(frames, hop)).mean(axis=1)
        silent = ~spoken[:frames].any(axis=1)
        far = np.convolve(~silent, np.ones(5), "same") == 0  # 20 ms from every turn
        assert power[~silent].mean() > 100 * power[far].mean()
        both += spoken.all(axis=1).sum()
        total += spoken.any(axis=1).sum()
    assert 0.02 < both / total < 0.2


def test_frames_of_a_conversation_are_10_ms():
    talk = corpus.Utterance(None, "", "", "test", "conversation", 0.05, (), (),
                            turns=(("b", 0.0, 0.021), ("a", 0.02, 0.04), ("b", 0.036, 0.05)))
    voices, spoken = talk.who_spoke_when()
    assert voices == ("b", "a")
    assert spoken.T.astype(int).tolist() == [[1, 1, 0, 0, 1], [0, 0, 1, 1, 0]]


# -- the grammar ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number, words, written", [
    (0, "zero", "null"), (1, "one", "eins"), (12, "twelve", "zwölf"), (16, "sixteen", "sechzehn"),
    (17, "seventeen", "siebzehn"), (21, "twenty one", "einundzwanzig"), (30, "thirty", "dreißig"),
    (42, "forty two", "zweiundvierzig"), (66, "sixty six", "sechsundsechzig"),
    (77, "seventy seven", "siebenundsiebzig"), (99, "ninety nine", "neunundneunzig")])  # fmt: skip
def test_numbers_in_two_languages(number, words, written):
    assert " ".join(grammar.english(number)) == words
    assert grammar.german(number) == written


def test_every_number_is_said_in_one_way_only():
    assert len({grammar.german(n) for n in range(100)}) == 100
    assert len({grammar.english(n) for n in range(100)}) == 100
    for wrong in (100, -1, 4.5):
        with pytest.raises(ValueError, match="whole number from 0 to 99"):
            grammar.german(wrong)
    german = {"-".join(grammar.english(n)): grammar.german(n) for n in range(100)}
    assert all(u.translation == german[u.text] for u in corpus.numbers())


# -- noise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_the_same_each_time_and_stays_within_bounds(kind):
    wave = corpus.digits("test")[0].wave()
    noisy = disturb(wave, kind, snr_db=5, seed=3)
    assert noisy.dtype == np.float32 and noisy.shape == wave.shape and np.abs(noisy).max() <= 1
    assert np.array_equal(noisy, disturb(wave, kind, snr_db=5, seed=3))
    assert not np.allclose(noisy, wave, atol=1e-3)
    if kind != "telephone":
        assert not np.array_equal(noisy, disturb(wave, kind, snr_db=5, seed=4))


@pytest.mark.parametrize("kind", ["babble", "hum", "hiss"])
@pytest.mark.parametrize("snr_db", [0, 20])
def test_noise_is_as_loud_as_asked(kind, snr_db):
    wave = 0.05 * np.sin(np.arange(32_000) / 9).astype(np.float32)
    added = disturb(wave, kind, snr_db) - wave
    ratio = 10 * np.log10(np.square(wave).mean() / np.square(added).mean())
    assert ratio == pytest.approx(snr_db, abs=0.1)


def test_a_telephone_has_neither_low_nor_high_tones():
    time = np.arange(32_000) / audio.SAMPLE_RATE
    tones = sum(0.2 * np.sin(2 * np.pi * hertz * time) for hertz in (100, 1000, 5000))
    spectrum = np.abs(np.fft.rfft(disturb(tones, "telephone")))
    low, middle, high = (spectrum[2 * hertz] for hertz in (100, 1000, 5000))
    assert middle > 50 * low and middle > 50 * high


def test_wrong_noise_is_an_error():
    with pytest.raises(ValueError, match="expected kind to be one of babble"):
        disturb(np.zeros(10), "rain")
    with pytest.raises(ValueError, match=r"a mono wave \(samples,\)"):
        disturb(np.zeros((2, 10)), "hiss")
    with pytest.raises(ValueError, match="snr_db as a finite number of dB, got nan"):
        disturb(np.ones(10), "hiss", snr_db=np.nan)
    with pytest.raises(ValueError, match="talkers that say something, got none"):
        disturb(np.ones(10), "babble", talkers=[np.zeros(5)])


def test_few_talkers_are_babble_too():
    talkers = [np.sin(np.arange(900)), np.zeros(50), np.cos(np.arange(700) / 3)]
    noisy = disturb(np.zeros(1000), "babble", talkers=talkers)
    assert np.isfinite(noisy).all()
    loud = disturb(np.full(1000, 0.1), "babble", talkers=talkers)
    assert np.isfinite(loud).all() and np.abs(loud).max() <= 1
    assert np.abs(disturb((np.arange(1000) * 30).astype(np.int16), "clipping")).max() <= 1


# -- reading and making --------------------------------------------------------------------------


def test_wrong_arguments_of_the_readers():
    with pytest.raises(ValueError, match="expected split"):
        corpus.numbers("dev")
    with pytest.raises(ValueError, match="expected kind to be one of command, keyword"):
        corpus.commands(kind="digits")
    with pytest.raises(ValueError, match="expected the set"):
        corpus.speakers("music")


def test_without_data_the_reader_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLIB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="corpus build --set numbers"):
        corpus.numbers()


def test_everyone_keeps_the_splits():
    held_out = TIMBRES["valid"] | TIMBRES["test"]
    assert len(everyone()) > 200
    assert not [v for v in everyone() if v.split == "train" and v.timbre in held_out]


def test_more_is_never_written_over_the_bundled_set(capsys):
    for arguments in (["--takes", "3"], ["--everyone"], ["--takes", "0", "--out", "x"]):
        assert cli.main(["corpus", "build", *arguments]) == 2
    assert cli.main(["corpus", "build", "--set", "numbers", "--out", "x", "--takes", "0"]) == 2
    assert capsys.readouterr().err.count("\n") == 4


@needs_synthesisers
@pytest.mark.parametrize("name", sets.SETS)
def test_making_a_set_again_gives_what_is_shipped(name, tmp_path):
    few = [voice for voice in cast() if voice.split == "valid"][:2]
    rows = sets.build_set(name, tmp_path / "one", few)
    again = sets.build_set(name, tmp_path / "two", few, workers=1)
    assert rows and json.dumps(rows) == json.dumps(again)
    for row in rows:
        one, two = ((tmp_path / part / row["file"]).read_bytes() for part in ("one", "two"))
        assert one == two
    if name == "conversations":  # other pairs, when there are fewer voices
        return
    shipped = {u.path.name: u for u in READERS[name]("valid")}
    for row in rows:  # another version of a synthesiser may sound different, not say other words
        utterance = shipped[row["file"].split("/")[1]]
        assert (row["text"], row["kind"]) == (utterance.text, utterance.kind)
        assert row["duration_s"] == pytest.approx(utterance.duration_s, abs=0.5)
