"""The corpus viewer without a browser: lanes, what the page is given, what a notebook keeps."""

import base64
import io
import json

import numpy as np
import pytest
import soundfile
from PIL import Image

from speechlib import audio, corpus, viz
from speechlib.viz import utterance_plots

ONE_OF_EACH = [(corpus.digits, 7), (corpus.commands, 0), (corpus.numbers, 20),
               (corpus.conversations, 4)]
VIEW = "application/vnd.jupyter.widget-view+json"


@pytest.mark.parametrize("of_set, index", ONE_OF_EACH)
def test_every_set_can_be_seen_and_weighs_little(of_set, index):
    viewer = viz.view(of_set("test"), index)
    one = of_set("test")[index]
    assert viewer.utterance is one and viewer.shown["text"] == one.text
    data, _ = viewer._repr_mimebundle_()
    assert VIEW in data and len(json.dumps(data)) < 60_000
    assert 'alt="' in data["text/html"] and "Words and times" in data["text/html"]
    for word, start, end in one.words:
        assert f"“{word}” {start:.2f} to {end:.2f} s" in data["text/plain"]
    state = json.dumps(viewer.get_state(["shown"]))  # would raise on bytes
    assert len(state) < 60_000


def test_a_list_sends_only_the_one_on_show():
    lone, listed = viz.view(corpus.digits("test")[3]), viz.view(corpus.digits("test"), 3)
    assert {**lone.shown, "index": 3} == listed.shown
    assert listed.get_state().keys() == lone.get_state().keys()


def test_the_page_gets_sound_mel_and_times():
    one = corpus.numbers("test")[20]
    shown = viz.view(one).shown
    wave, rate = soundfile.read(io.BytesIO(base64.b64decode(shown["audio"])))
    assert rate == 16000 and shown["samples"] == len(one.wave())
    assert np.corrcoef(wave[:len(one.wave())], one.wave())[0, 1] > 0.98
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown["mel"]))).convert("RGB"))
    mel = audio.log_mel(one.wave(), pad_to_seconds=None)[::-1]
    assert picture.shape[:2] == mel.shape
    assert np.corrcoef(picture.sum(2).ravel(), mel.ravel())[0, 1] > 0.98
    assert shown["mel_end"] == pytest.approx((mel.shape[1] - 0.5) / 100)
    assert shown["german"] == one.translation == "einundachtzig"
    assert [lane["kind"] for lane in shown["lanes"]] == ["word", "phone"]
    assert [tuple(span) for span in shown["lanes"][1]["spans"]] == list(one.phones)
    assert shown["rows"][1] == ["one", "0.45", "0.73", "w 0 n"]
    assert shown["columns"] == ["word", "from (s)", "to (s)", "phones"]


def test_a_conversation_has_lanes_for_each_voice():
    for one in corpus.conversations():
        letters = utterance_plots.voice_letters(one)
        lanes = utterance_plots.lanes(one)
        assert [lane.name for lane in lanes] == [
            f"{letter} {kind}" for letter in "AB" for kind in ("speaks", "words", "phones")]
        for kind, spans in (("word", one.words), ("phone", one.phones)):
            mine = [span for lane in lanes if lane.kind == kind for span in lane.spans]
            assert sorted(mine) == sorted(spans)
        for turn, words in ((lanes[0], lanes[1]), (lanes[3], lanes[4])):
            voice = letters[turn.voice]
            assert [span[1:] for span in turn.spans] == [
                span[1:] for span in one.turns if span[0] == voice]
            assert " ".join(text for text, _, _ in turn.spans) == " ".join(
                word for word, _, _ in words.spans)  # in order, though two speak at once
            ends = [end for _, _, end in words.spans]
            assert all(start >= end - 0.002 for (_, start, _), end in
                       zip(words.spans[1:], ends, strict=False))  # nobody says two words at once
    assert viz.view(one).shown["columns"][0] == "voice"


def test_a_word_in_two_turns_belongs_where_it_carries_on():
    turns = [("a", 0.0, 2.0), ("b", 1.0, 3.0)]
    words = [("x", 0.1, 1.2), ("y", 1.05, 1.5), ("z", 1.2, 1.9), ("w", 1.5, 2.0)]
    assert utterance_plots.holders(words, turns) == [0, 1, 0, 1]
    assert utterance_plots.holders([], turns) == []


@pytest.mark.parametrize("kind", ["noise", "silence"])
def test_what_holds_no_words(kind):
    viewer = viz.view(corpus.digits("test", kind)[0])
    assert viewer.shown["lanes"] == [] and viewer.shown["text"] == "no words in it"
    assert "no words" in viewer._repr_mimebundle_()[0]["text/html"]


def test_python_and_the_page_choose_another():
    viewer, sent = viz.view(corpus.digits("test")), []
    viewer.send = lambda content, buffers=None: sent.append(content)
    viewer.show(5)
    assert viewer.utterance is corpus.digits("test")[5] and viewer.shown["index"] == 5
    viewer._receive(None, {"type": "show", "index": 2}, [])
    assert viewer.shown["text"] == corpus.digits("test")[2].text
    viewer._receive(None, {"type": "list"}, [])
    assert len(sent[0]["names"]) == len(corpus.digits("test"))
    assert sent[0]["names"][2].startswith(f"2: {viewer.utterance.text}")
    with pytest.raises(ValueError, match="0 to 103"):
        viewer.show(104)
    with pytest.raises(ValueError):
        viewer._receive(None, {"type": "show", "index": 999}, [])
    assert sent[-1]["type"] == "error" and "expected a number" in sent[-1]["text"]
    assert viewer.shown["index"] == 2


@pytest.mark.parametrize("wrong, said", [
    ([], "list that holds"), ("digits", "got a str"), ([1], "list that holds"),
    (lambda: corpus.voice_clips("test"), "choose one voice")])
def test_what_cannot_be_shown_is_said(wrong, said):
    with pytest.raises(ValueError, match=said):
        viz.view(wrong() if callable(wrong) else wrong)


def test_the_picture_has_one_time_axis():
    drawn = viz.plot_utterance(corpus.conversations("test")[0])
    assert len({ax.get_xlim() for ax in drawn.axes}) == 1
    assert "A: “eight” 0.20 to 0.50 s" in drawn.alt
    names = [tick.get_text() for tick in drawn.axes[2].get_yticklabels()]
    assert names[::-1] == ["A speaks", "A words", "A phones", "B speaks", "B words", "B phones"]
