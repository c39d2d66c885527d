"""whisper-commands: what it is trained on, its vocabulary, and what the shipped weights can do."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import torch

import speechlib as sl
from speechlib import corpus, metrics
from speechlib.corpus.mixing import Mix
from speechlib.corpus.segments import Said, SegmentMixer, words_of
from speechlib.recipes import command_figures, whisper_commands
from speechlib.recipes.whisper_commands import (
    END,
    ENGLISH,
    FIRST_TIME,
    FRAMES,
    NO_TIMES,
    START,
    TRANSCRIBE,
    WORDS,
    labels_of,
)
from speechlib.recipes.with_reader import WithReader, shorter
from speechlib.tokenizers import load_tokenizer, word_tokenizer

TURN, ON, STOP = (WORDS.index(word) for word in ("turn", "on", "stop"))


@functools.cache
def clips():
    """Commands and single words of two voices, and one clip of what is not to be written."""
    voices = sorted({u.voice for u in corpus.commands("train")})[:2]
    found = [clip for clip in whisper_commands.command_clips([], "train") if clip.voice in voices]
    return (*found, replace(found[0], words=(), spans=(), group="other"))


def tiny():
    block = whisper_commands.config().encoder
    small = replace(block, width=16, heads=2, feed_forward=16)
    return replace(
        whisper_commands.config(),
        encoder=small,
        decoder=replace(small, cross_attention=True),
        encoder_layers=1,
        decoder_layers=1,
    )


def said(*utterances, cut=()):
    return Said(list(map(list, utterances)), list(cut))


def test_words_come_first_then_the_end_token_then_times():
    tokenizer = word_tokenizer(WORDS, whisper_commands.SPECIAL, words_first=True)
    assert tokenizer.id("<|endoftext|>") == END == len(WORDS) == 38
    assert tokenizer.id("<|startoftranscript|>") == START
    assert tokenizer.id("<|notimestamps|>") == NO_TIMES
    assert tokenizer.id("<|0.00|>") == FIRST_TIME == NO_TIMES + 1
    assert tokenizer.id("<|0.02|>") == FIRST_TIME + 1
    assert tokenizer.id("<|6.00|>") == FIRST_TIME + FRAMES == tokenizer.vocabulary_size - 1
    assert tokenizer.encode("turn on") == [TURN, ON]


def test_labels_without_times():
    one = said([("turn", 10, 30), ("on", 30, 60)], [("stop", 100, 130)])
    assert labels_of(one, False) == [ENGLISH, TRANSCRIBE, NO_TIMES, TURN, ON, STOP, END]
    assert labels_of(said(), False) == [ENGLISH, TRANSCRIBE, NO_TIMES, END]


def test_labels_with_times_are_pairs_of_20_ms_steps():
    one = said([("turn", 10, 30), ("on", 30, 61)], [("stop", 100, 130)])
    times = [FIRST_TIME + step for step in (5, 31, 50, 65)]
    assert labels_of(one, True) == [
        ENGLISH, TRANSCRIBE, times[0], TURN, ON, times[1], times[2], STOP, times[3], END,
    ]  # fmt: skip
    moved = labels_of(one, True, first=100)
    assert [token - 100 for token in moved if token >= FIRST_TIME] == times


def test_an_utterance_that_is_cut_off_has_only_its_beginning():
    one = said([("stop", 100, 130)], cut=[("turn", 500, 540), ("on", 540, 600)])
    assert labels_of(one, True)[-3:] == [FIRST_TIME + 65, FIRST_TIME + 250, END]
    assert labels_of(said(), True) == [ENGLISH, TRANSCRIBE, FIRST_TIME, END]


def test_batches_are_what_they_say():
    batch_at = whisper_commands.batches(clips(), 6, seed=1, gentle_from=2)
    for step in range(3):
        mel, labels, names, first = batch_at(step)
        frames = mel.shape[2] // 2
        assert mel.shape == (6, 80, 2 * frames) and mel.dtype == torch.float32
        assert names.shape == (6, frames) and 0 <= names.min() and names.max() <= len(WORDS)
        assert 0 <= first <= FRAMES - frames
        for n, row in enumerate(labels.tolist()):
            row = [token for token in row if token != -100]
            assert row[:2] == [ENGLISH, TRANSCRIBE] and row[-1] == END
            assert (row[2] == NO_TIMES) == (n % 2 == 1)
            times = [token - FIRST_TIME for token in row if token >= FIRST_TIME]
            assert times == sorted(times)
            if any(token < END for token in row) and times:
                assert first <= times[0] and times[-1] <= first + frames
                # the reader hears something just where the decoder says that a segment begins
                assert names[n, times[0] - first : times[0] - first + 3].max() > 0
    again = whisper_commands.batches(clips(), 6, seed=1, gentle_from=2)(1)
    assert torch.equal(again[0], batch_at(1)[0]) and torch.equal(again[1], batch_at(1)[1])


def test_utterances_lie_where_the_mixer_says():
    mixer = SegmentMixer(clips(), Mix(mel_frames=600, rooms=0, clean=1, other=0, silence=0), seed=2)
    counts = set()
    for number in range(12):
        mel, heard = mixer.example(number)
        counts.add(len(heard.utterances))
        loud = mel.max(axis=0)
        spans = [(words[0][1], words[-1][2]) for words in heard.utterances]
        for begin, end in spans:
            assert loud[begin:end].max() > loud.min() + 0.3
        for (_, end), (begin, _) in zip(spans, spans[1:], strict=False):
            assert begin >= end
        assert not heard.cut
    assert {1, 2} <= counts
    cut = [mixer.example(number, cut=True)[1] for number in range(40)]
    assert any(one.cut for one in cut)
    assert all(one.utterances for one in cut if one.cut)


def test_words_are_cut_out_where_they_are():
    clip = next(clip for clip in clips() if len(clip.words) > 3)
    pieces = words_of(clip)
    assert [word for word, _ in pieces] == list(clip.words)
    for word, piece in pieces:
        assert piece.words == (word,) and np.shares_memory(piece.power, clip.power)
    assert sum(piece.power.shape[1] for _, piece in pieces) <= clip.power.shape[1] + 2 * len(pieces)


def test_a_shorter_window_may_stand_anywhere_in_the_long_one():
    model = whisper_commands.fresh(tiny()).eval()
    late = shorter(model, 120, first=180)
    assert torch.equal(late.encoder.positions.weight, model.encoder.positions.weight[180:])
    assert late.decoder is model.decoder and model.config.frames == FRAMES
    for frames, first in ((120, 181), (301, 0), (0, 0), (10, -1)):
        with pytest.raises(ValueError, match="encoder frames"):
            shorter(model, frames, first)


def test_it_learns_a_few_windows_by_heart(monkeypatch):
    torch.manual_seed(0)
    monkeypatch.setattr(whisper_commands, "WINDOWS", (2.4,))  # one length: it is quick
    monkeypatch.setattr(whisper_commands, "WINDOW_SHARES", (1.0,))
    model = WithReader(whisper_commands.fresh(tiny()), names=len(WORDS) + 1)
    batch = whisper_commands.batches(clips(), 4, seed=3, gentle_from=9)(0)
    optimizer = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        losses.append(model.loss(*batch))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_the_folder_loads_and_writes_both_ways(tmp_path):
    torch.manual_seed(1)
    whisper_commands.write_checkpoint(whisper_commands.fresh(tiny()), tmp_path / "x")
    model = sl.load(tmp_path / "x")
    wave = corpus.commands("valid")[0].wave()
    assert "<|" not in sl.transcribe(wave, model).text
    for segment in sl.transcribe(wave, model, timestamps=True).segments:
        assert 0 <= segment["start_s"] <= segment["end_s"] <= 6.0
    assert load_tokenizer(tmp_path / "x").vocabulary_size == model.config.vocabulary
    assert (tmp_path / "x" / "tokenizer.json").stat().st_size < 60_000


def test_it_takes_over_what_whisper_digits_knows():
    settings = tiny()
    smaller = replace(settings.decoder, feed_forward=8)
    digits = whisper_commands.Whisper(replace(settings, vocabulary=15, pad=0, end=0, slots=32))
    model = whisper_commands.fresh(replace(settings, decoder=smaller), start=digits)
    taken, known = model.state_dict(), digits.state_dict()
    for name in ("encoder.conv1.weight", "encoder.blocks.0.self_attention.query.weight",
                 "decoder.blocks.0.cross_attention.value.weight"):  # fmt: skip
        assert torch.equal(taken[name], known[name]), name
    up = "decoder.blocks.0.feed_forward.up.weight"
    assert torch.equal(taken[up], known[up][:8])
    assert torch.equal(taken["decoder.positions.weight"][:32], known["decoder.positions.weight"])
    table = "decoder.token_embedding.weight"
    assert torch.equal(taken[table][END:FIRST_TIME], known[table][:5])
    assert taken[table][FIRST_TIME:].std() > 0  # the times are not digits


def test_a_folder_without_a_set_is_refused(tmp_path):
    with pytest.raises(ValueError, match="manifest"):
        list(whisper_commands.command_clips([tmp_path], "train"))


# --------------------------------------------------------------------------------- shipped weights


@functools.cache
def shipped():
    return sl.load(whisper_commands.NAME)


def test_shipped_commands_are_written_rightly():
    some = corpus.commands("test")[::6]
    pairs = [(u.text, sl.transcribe(u.wave(), shipped()).text) for u in some]
    assert metrics.wer(*zip(*pairs, strict=True)) <= 0.1


def test_shipped_times_of_one_and_of_two_commands():
    test = corpus.commands("test")
    rng = np.random.default_rng(0)
    windows = [command_figures.spans_of([one], rng) for one in test[::12]]
    windows += command_figures.pairs_of(test, 6)
    errors = []
    for wave, spans in windows:
        found = sl.transcribe(wave, shipped(), timestamps=True).segments
        if len(found) == len(spans):
            for (_, start_s, end_s), segment in zip(spans, found, strict=True):
                errors += [abs(segment["start_s"] - start_s), abs(segment["end_s"] - end_s)]
    assert len(errors) >= 0.8 * 2 * sum(len(spans) for _, spans in windows)
    assert np.median(errors) <= 0.08 and np.quantile(errors, 0.8) <= 0.15


def test_a_lone_segment_begins_where_it_is_said():
    spoken = corpus.commands("test")[0]
    late = np.concatenate([np.zeros(24_000, np.float32), spoken.wave()])
    (segment,) = sl.transcribe(late, shipped(), timestamps=True).segments
    assert segment["start_s"] == pytest.approx(1.5 + spoken.words[0][1], abs=0.2)
    assert segment["end_s"] == pytest.approx(1.5 + spoken.words[-1][2], abs=0.2)


def test_how_sure_it_is_of_a_segment_tells_of_its_words_not_of_its_times():
    wave = corpus.commands("test")[0].wave()
    found = sl.transcribe(wave, shipped(), timestamps=True, words=True)
    words = [probability for *_, probability in found.words]  # a token each
    assert found.segments[0]["probability"] == pytest.approx(np.exp(np.log(words).mean()), rel=1e-5)


def test_shipped_is_not_sure_of_anything_where_nobody_speaks():
    quiet = [clip for kind in ("noise", "silence") for clip in corpus.digits("test", kind)]
    found = [sl.transcribe(clip.wave(), shipped()) for clip in quiet]
    assert sum(bool(one.text) for one in found) <= 1  # clicks are taken for words: see the card
    assert not any(one.text and one.segments[0]["probability"] >= 0.8 for one in found)
