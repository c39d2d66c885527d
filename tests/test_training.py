"""The trainer: the schedule, and that a killed run goes on as if nothing had happened."""

import os
import pickle
import signal
import subprocess
import sys
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from speechlib import training
from speechlib.configs import BlockConfig, SpecAugmentConfig, WhisperConfig
from speechlib.corpus.mixing import Mix, Mixer, clip_of
from speechlib.torch_models.whisper import Whisper

STEPS = 12


def tiny_model():
    block = dict(width=16, heads=2, feed_forward=32, dropout=0.1, key_bias=False)
    torch.manual_seed(1)
    return Whisper(
        WhisperConfig(
            encoder=BlockConfig(**block),
            decoder=BlockConfig(**block, cross_attention=True),
            encoder_layers=1,
            decoder_layers=1,
            vocabulary=15,
            frames=20,
            slots=8,
            pad=0,
            start=1,
            end=0,
            spec_augment=SpecAugmentConfig(),
        )
    )


def batch_at(step):
    rng = torch.Generator().manual_seed(step)
    mel = torch.randn(4, 80, 40, generator=rng)
    return mel, torch.randint(5, 15, (4, 5), generator=rng)


def plan(**changes):
    return training.Plan(**{"steps": STEPS, "warmup": 3, "save_every": 2, **changes})


def run_to_the_end(folder):
    torch.set_num_threads(1)
    model = tiny_model()
    log = training.train(model, batch_at, plan(), folder, progress=False)
    return model, log


def test_a_run_killed_at_any_moment_gives_the_same_curve_and_weights(tmp_path):
    whole, whole_log = run_to_the_end(tmp_path / "whole")
    program = (
        "import sys, time; sys.path.insert(0, sys.argv[2]); import test_training as t\n"
        "made = t.batch_at\n"
        "def slowly(step):\n"
        "    time.sleep(0.05)\n"
        "    return made(step)\n"
        "t.batch_at = slowly\n"
        "t.run_to_the_end(sys.argv[1])\n"
    )
    folder, kills = tmp_path / "killed", 0
    for wait in (0.31, 0.12, 0.23):
        command = [sys.executable, "-c", program, str(folder), os.path.dirname(__file__)]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        deadline = time.time() + 60
        saved = _steps(folder)
        while _steps(folder) == saved and time.time() < deadline and process.poll() is None:
            time.sleep(0.01)  # until this run has saved something new
        time.sleep(wait)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    assert kills, "the runs ended before they could be killed"
    model, log = run_to_the_end(folder)
    assert log == whole_log
    for name, value in whole.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name


def _steps(folder):
    state = folder / "state.pt"
    return len(torch.load(state, weights_only=True)["log"]) if state.is_file() else 0


def run_in_shares(folder):
    """A run of two batches a step; by torchrun, each of two processes takes one of them."""
    torch.set_num_threads(1)
    model = tiny_model()
    shared = plan(steps=6, accumulate=2, bfloat16=False)
    log = training.train(
        model, batch_at, shared, folder, evaluate=lambda m: {"half": 0.5}, progress=False
    )
    if os.environ.get("RANK", "0") == "1":
        torch.save(model.state_dict(), folder / "second.pt")
    return model, log


def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    alone, alone_log = run_in_shares(tmp_path / "alone")
    program = tmp_path / "program.py"
    program.write_text(
        "import pathlib, sys; sys.path[:0] = sys.argv[2:]; import test_training as t\n"
        "t.run_in_shares(pathlib.Path(sys.argv[1]))\n"
    )
    here = os.path.dirname(__file__)
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        + [program, tmp_path / "both", here, os.path.dirname(here)],
        check=True, capture_output=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    states = [torch.load(tmp_path / "both" / name, weights_only=True)
              for name in ("state.pt", "second.pt")]  # fmt: skip
    assert states[0]["log"] == alone_log
    for name, value in alone.state_dict().items():
        assert torch.equal(value, states[0]["model"][name]), name
        assert torch.equal(value, states[1][name]), name


def test_two_batches_a_step_are_one_batch_of_both(tmp_path):
    rows = {}
    for accumulate in (1, 2):
        torch.manual_seed(0)
        model = torch.nn.Linear(3, 1)
        model.loss = lambda x, y, m=model: (m(x) - y).square().mean()
        halves = [(torch.randn(4, 3), torch.randn(4, 1)) for _ in range(8)]

        def made(number, accumulate=accumulate, halves=halves):
            if accumulate == 2:
                return halves[number]
            return [torch.cat(parts) for parts in zip(*halves[2 * number : 2 * number + 2],
                                                      strict=True)]  # fmt: skip

        p = plan(steps=4, accumulate=accumulate, bfloat16=False)
        log = training.train(model, made, p, tmp_path / str(accumulate), progress=False)
        rows[accumulate] = [row["loss"] for row in log]
    assert rows[1] == pytest.approx(rows[2], abs=2e-5)


def test_batches_that_cannot_be_dealt_evenly_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="3 batches a step cannot be dealt evenly to 2"):
        training.train(tiny_model(), batch_at, plan(accumulate=3), tmp_path, progress=False)


def test_it_stops_when_nothing_gets_better_and_keeps_the_best(tmp_path, capsys):
    errors = iter([0.5, 0.3, 0.4, 0.35, 0.2, 0.1])
    kept = []

    def evaluate(model):
        kept.append({name: value.clone() for name, value in model.state_dict().items()})
        return {"error": next(errors)}

    model = tiny_model()
    p = plan(steps=30, evaluate_every=2, save_every=100, watch="error", patience=2)
    rows = []
    log = training.train(model, batch_at, p, tmp_path, evaluate, progress=False,
                         on_row=rows.append)  # fmt: skip
    assert len(log) == 8 and rows == log  # evaluations after 2, 4, 6 and 8 steps
    assert capsys.readouterr() == ("", "")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 9  # the names, and every step
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[1][name]), name
    with pytest.raises(ValueError, match="watch='loudness', but evaluate gives error"):
        p = plan(steps=2, evaluate_every=2, watch="loudness")
        training.train(tiny_model(), batch_at, p, tmp_path / "b", lambda m: {"error": 1.0}, False)


def test_a_run_of_another_plan_is_not_taken_for_this_one(tmp_path):
    _, log = run_to_the_end(tmp_path)

    def again(**changes):
        return training.train(tiny_model(), batch_at, plan(**changes), tmp_path, progress=False)

    assert again() == again(save_every=5) == log
    with pytest.raises(ValueError, match=r"state of a run with rate 0.001, seed 0, after 12 steps; "
                                         r"this plan has rate 0.1, seed 5: give another folder"):
        again(seed=5, rate=0.1)
    with pytest.raises(ValueError, match="with steps 12, after 12 steps; this plan has steps 6"):
        again(steps=6)
    with pytest.raises(ValueError, match="with seed 0, after 12 steps; this plan has seed 1"):
        again(steps=20, seed=1)
    assert again(steps=14, rate=1e-4, decay=0.5)[:12] == log


def test_a_full_disk_leaves_the_state_that_was_there(tmp_path, monkeypatch):
    first, first_log = run_to_the_end(tmp_path)
    before = (tmp_path / "state.pt").read_bytes()

    def full(state, path):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        training.train(tiny_model(), batch_at, plan(steps=2 * STEPS), tmp_path, progress=False)
    assert (tmp_path / "state.pt").read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))


def test_training_learns_and_writes_its_curve(tmp_path):
    model = tiny_model()
    one = batch_at(0)
    log = training.train(
        model, lambda step: one, plan(steps=60, rate=1e-2), tmp_path, progress=False
    )
    assert log[-1]["loss"] < 0.6 * log[0]["loss"]
    lines = (tmp_path / "log.csv").read_text().splitlines()
    assert lines[0] == "step,loss,rate" and len(lines) == 61


def test_the_rate_warms_up_stays_and_goes_to_zero():
    p = training.Plan(steps=100, rate=1.0, warmup=10, decay=0.4)
    rates = [p.rate_at(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == rates[59] == 1.0
    assert np.all(np.diff(rates[61:]) < 0) and 0 < rates[-1] < 0.05
    typed = SimpleNamespace(steps=100, rate=1.0, decay=0.4, seed=0, batch=3)
    assert training.Plan.of(typed, warmup=10) == p and p.decay_from == 60
    assert training.Plan(steps=9, rate=1.0, warmup=1, decay=0.0).rate_at(8) == 1.0
    with pytest.raises(ValueError, match="warmup must be at least 1, got 0"):
        training.Plan(steps=100, warmup=0)


def test_chance_is_on_in_every_step_and_off_in_every_evaluation(tmp_path):
    """Also in the steps after an evaluation, and off in the model that comes back."""
    model, seen = tiny_model(), []
    plain = model.loss
    model.loss = lambda *parts: seen.append(("step", model.training)) or plain(*parts)

    def evaluate(same):
        seen.append(("evaluation", same.training))
        return {"error": 1.0}

    p = plan(steps=4, evaluate_every=2)
    training.train(model, batch_at, p, tmp_path, evaluate, progress=False)
    assert seen == 2 * [("step", True), ("step", True), ("evaluation", False)]
    training.train(model, batch_at, plan(steps=1), tmp_path / "unjudged", progress=False)
    assert not model.training


@pytest.mark.parametrize("wish", [True, False])
def test_products_are_in_bfloat16_where_the_plan_says_so(tmp_path, wish):
    model, kinds = torch.nn.Linear(3, 1), []
    model.loss = lambda x: model(x).sum()
    model.register_forward_hook(lambda *given: kinds.append(given[2].dtype))
    p = plan(steps=1, bfloat16=wish)
    training.train(model, lambda step: [torch.ones(1, 3)], p, tmp_path, progress=False)
    assert kinds == [torch.bfloat16 if wish else torch.float32]
    assert model.weight.dtype == torch.float32


def test_a_seed_decides_what_is_dropped(tmp_path):
    logs = [
        training.train(
            tiny_model(), batch_at, plan(steps=2, seed=seed), tmp_path / name, progress=False
        )
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert logs[0] == logs[1] and logs[0][0]["loss"] != logs[2][0]["loss"]


def test_weights_are_pulled_towards_zero_and_biases_are_not(tmp_path):
    """A layer that a step leaves out (LayerDrop) goes with the others."""
    model = torch.nn.ModuleList([torch.nn.Linear(3, 2), torch.nn.Linear(3, 2)])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.loss = lambda x: 0 * model[0](x).sum()  # nothing else moves them
    p = plan(steps=4, weight_decay=0.5, rate=0.1, bfloat16=False)
    training.train(model, lambda step: [torch.ones(1, 3)], p, tmp_path, progress=False)
    kept = np.prod([1 - 0.5 * p.rate_at(step) for step in range(4)])
    for name, value in model.state_dict().items():
        wanted = before[name] * (float(kept) if "weight" in name else 1)
        torch.testing.assert_close(value, wanted)


def test_the_steps_are_those_of_adamw(tmp_path):
    rows = torch.randn(5, 1, 3, generator=torch.Generator().manual_seed(0)).abs()
    models = [torch.nn.Linear(3, 1, bias=False) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    models[0].loss = lambda x: models[0](x).sum()
    p = plan(steps=5, rate=0.1, clip=1e9, bfloat16=False)
    training.train(models[0], lambda step: [rows[step]], p, tmp_path, progress=False)
    adamw = torch.optim.AdamW(models[1].parameters(), betas=(0.9, 0.98), weight_decay=0.05)
    for step, row in enumerate(rows):
        adamw.param_groups[0]["lr"] = p.rate_at(step)
        adamw.zero_grad()
        models[1](row).sum().backward()
        adamw.step()
    torch.testing.assert_close(models[0].weight, models[1].weight)


def test_gradients_are_cut_to_the_length_that_the_plan_allows(tmp_path):
    for clip, expected in ((0.5, 0.5), (1e9, 3e3)):
        model = torch.nn.Linear(9, 1, bias=False)
        model.loss = lambda x, m=model: 1000 * m(x).sum()
        p = plan(steps=1, clip=clip, bfloat16=False)
        training.train(model, lambda step: [torch.ones(1, 9)], p, tmp_path / str(clip), None, False)
        assert float(model.weight.grad.norm()) == pytest.approx(expected, rel=1e-4)


def test_standing_still_is_no_progress(tmp_path):
    kept, model = [], tiny_model()

    def evaluate(same):
        kept.append(same.encoder.norm.bias.clone())
        return {"error": 0.5}

    p = plan(steps=9, evaluate_every=1, watch="error", patience=2)
    log = training.train(model, batch_at, p, tmp_path, evaluate, progress=False)
    assert len(log) == 3
    assert torch.equal(model.encoder.norm.bias, kept[0])  # the first of equals is the best


def test_the_state_of_another_model_is_refused(tmp_path):
    run_to_the_end(tmp_path)
    other = torch.nn.Linear(2, 2)
    with pytest.raises(ValueError, match="another model"):
        training.train(other, batch_at, plan(), tmp_path, progress=False)


class Harmful:
    """What opening a careless pickle would run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_state_with_more_than_numbers_is_refused_and_not_run(tmp_path):
    torch.save({"log": Harmful(tmp_path / "it_ran")}, tmp_path / "state.pt")
    with pytest.raises(pickle.UnpicklingError):
        training.train(tiny_model(), batch_at, plan(), tmp_path, progress=False)
    assert not (tmp_path / "it_ran").exists()


def test_a_loss_that_is_not_a_number_stops_the_run(tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.decoder.norm.weight[0] = torch.nan
    with pytest.raises(ValueError, match="not a number at step 0"):
        training.train(model, batch_at, plan(), tmp_path, progress=False)


# ----------------------------------------------------------------------------------- the mixer


def clips():
    rng = np.random.default_rng(0)
    for group, words in (("real", ["one"]), ("synthetic", ["two"]), ("other", [])):
        for voice in "ab":
            wave = rng.standard_normal(6000).astype(np.float32) * 0.1
            yield clip_of(wave, words, group, voice)


def test_mixed_examples_repeat_and_are_whisper_input():
    mix = Mix(mel_frames=200)
    mixer, again = Mixer(clips(), mix, seed=3), Mixer(clips(), mix, seed=3)
    seen = set()
    for number in range(60):
        mel, spans = mixer.example(number)
        same, same_spans = again.example(number)
        np.testing.assert_array_equal(mel, same)
        assert spans == same_spans
        words = tuple(word for word, _, _ in spans)
        assert all(0 <= first < end <= 200 for _, first, end in spans)
        assert mel.shape == (80, 200) and mel.dtype == np.float32 and np.isfinite(mel).all()
        assert mel.max() - mel.min() <= 2.0001  # 8 powers of ten, divided by 4
        assert set(words) <= {"one", "two"} and len(words) <= 6
        seen.add(words)
    assert () in seen and len(seen) > 5


def test_clips_as_recorded_keep_their_length():
    """A clip is 37 frames long; only one that nobody else says always is."""
    mixer = Mixer(clips(), Mix(mel_frames=200, silence=0, other=0), seed=3)
    for share, kept in ((1.0, True), (0.0, False)):
        mix = replace(mixer.mix, as_recorded=share)
        spans = [span for number in range(20) for span in mixer.example(number, mix)[1]]
        lengths = {end - first for _, first, end in spans}
        assert (max(lengths) <= 38) is kept, lengths


def test_a_voice_is_stretched_not_lost():
    from speechlib.corpus.mixing import FREQUENCIES, Person, _warped

    root = np.zeros((FREQUENCIES, 40), dtype=np.float16)
    root[50] = 1.0  # a tone of 2000 Hz
    root[:, 20:] *= 0.5  # softer in its second half
    same = np.arange(FREQUENCIES) / 1.2
    person = Person(same, same, buzz=1.0, duration=1.5, tilt=0.0)
    power, heard = _warped(root, person, np.random.default_rng(0))
    assert abs(int(power.mean(axis=1).argmax()) - 60) <= 1  # now at 2400 Hz
    assert 52 < power.shape[1] < 66 and power.shape[1] == len(heard)
    softer = np.argmax(power[60] < 0.5 * power[60, 0])
    assert abs(heard[softer] - 0.5) < 0.05  # the places tell where the change went
    assert np.ptp(np.diff(heard)) > 0.1 * np.diff(heard).mean()  # the pace is uneven


def test_a_voice_of_another_pitch_keeps_its_formants():
    from speechlib.corpus.mixing import FREQUENCIES, Person, _warped

    places = np.arange(FREQUENCIES)
    formant = 0.1 + np.exp(-np.square((places - 60) / 15))  # at 2400 Hz
    root = np.where(places % 10 == 0, 1.5, 0.9) * formant  # harmonics 400 Hz apart
    root = np.repeat(root[:, None], 20, axis=1).astype(np.float16)
    higher = np.minimum(places / 1.3, FREQUENCIES - 1)
    person = Person(places.astype(float), higher, buzz=1.0, duration=1.0, tilt=0.0)
    power, _ = _warped(root, person, np.random.default_rng(0))
    spectrum = power.mean(axis=1) ** 0.25
    peaks = [n for n in range(30, 110) if spectrum[n] == spectrum[n - 5 : n + 6].max()]
    assert np.diff(peaks).mean() == pytest.approx(13, abs=0.5)  # now 520 Hz apart
    middle = (spectrum * places)[20:100].sum() / spectrum[20:100].sum()
    assert middle == pytest.approx(60, abs=3)


def test_a_whisper_has_the_formants_without_the_harmonics():
    from speechlib.corpus.mixing import FREQUENCIES, Person, _warped

    places = np.arange(FREQUENCIES)
    root = np.where(places % 10 == 0, 1.5, 0.9) * np.exp(-np.square((places - 60) / 15))
    root = np.repeat(root[:, None], 20, axis=1).astype(np.float16)
    ripple = {}
    for buzz in (0.0, 0.5, 1.0):
        person = Person(places.astype(float), places.astype(float), buzz, duration=1.0, tilt=0.0)
        spectrum = _warped(root, person, np.random.default_rng(0))[0].mean(axis=1) ** 0.25
        ripple[buzz] = np.abs(np.diff(np.log(spectrum[50:71]), 2)).max()
        assert abs(int(spectrum.argmax()) - 60) <= 3
    assert ripple[0.0] < 0.4 * ripple[0.5] < 0.4 * ripple[1.0]


def test_words_are_cut_by_hand_by_loudness_or_not_at_all():
    from speechlib.corpus.mixing import FREQUENCIES, LOW_RATE, _cut_close

    root = np.full((FREQUENCIES, 40), 1.0, dtype=np.float16)
    root[:, :10] = 0.3  # 21 dB softer
    root[LOW_RATE:, 30:] = 2.0  # a hiss, louder than the vowel, but above 4 kHz
    root[:LOW_RATE, 30:] = 0.1  # 40 dB softer
    found = {_cut_close(root, np.random.default_rng(seed)).shape[1] for seed in range(200)}
    assert {20, 30, 40} <= found  # both soft ends, the softest, nothing
    assert found <= {20} | set(range(30, 41))


def test_imagined_tracts_keep_the_order_of_frequencies():
    from speechlib.corpus.mixing import FREQUENCIES, Person

    for seed in range(50):
        person = Person.drawn(np.random.default_rng(seed))
        tract, pitch = person.tract, person.pitch
        assert pitch[0] == 0 and (np.diff(pitch) >= 0).all() and 90 < pitch[-1] < FREQUENCIES
        assert tract[0] == 0 and (np.diff(tract) >= 0).all() and 130 < tract[-1] < 290
