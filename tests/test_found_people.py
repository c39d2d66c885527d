"""Recordings of people in packages of free software; the packages are made up here."""

import numpy as np
import pytest
import soundfile

from speechlib import audio
from speechlib.corpus import found_people
from speechlib.corpus.voices import DIGITS
from speechlib.recipes import people


@pytest.fixture
def packages(tmp_path):
    """Every file that is looked for: a second each, loud from its middle on."""
    for person in found_people.PEOPLE:
        for digit in person.digits:
            path = tmp_path / "root" / person.path.format(digit=digit, word=DIGITS[digit])
            path.parent.mkdir(parents=True, exist_ok=True)
            if person.raw:  # mu-law: 0xFF is silence, 0x80 and 0x00 are the loudest
                path.write_bytes(b"\xff" * 4000 + b"\x80\x00" * 2000)
                continue
            wave = np.zeros((44_100, 2), np.float32)
            wave[22_050:] = 0.5
            soundfile.write(path, wave, 44_100)
    return tmp_path / "root"


def test_all_are_gathered_as_recipes_read_them(packages, tmp_path, capsys):
    assert found_people.main([str(packages), "--out", str(tmp_path / "out")]) == 0
    assert "179 recordings of 13 people" in capsys.readouterr().out
    found = list(people.recordings(tmp_path / "out", indices=people.EVERY))
    trained = {speaker for _, _, speaker in people.recordings(tmp_path / "out")}
    assert len(found) == 179 and len(trained) == 8
    wanted = {person.name: person.split for person in found_people.PEOPLE}
    assert {speaker: "train" if speaker in trained else "test" for _, _, speaker in found} == wanted
    for path, word, _ in found:
        assert DIGITS[int(path.name[0])] == word and audio.load(path).size > 0


def test_only_strangers(packages, tmp_path):
    assert found_people.main([str(packages), "--split", "test", "--out", str(tmp_path)]) == 0
    assert not list(people.recordings(tmp_path))  # nothing that a training would take
    assert len(list(people.recordings(tmp_path, indices=people.EVERY))) == 48


def test_a_tile_is_cut_where_its_digit_begins(packages):
    tiles = next(p for p in found_people.PEOPLE if p.name == "kajongg-female1" and not p.index)
    found = dict(found_people.recordings(tiles, packages))
    assert sorted(found) == list(range(1, 10))
    for digit, start_s in zip(range(1, 10), tiles.starts_s, strict=True):
        assert len(found[digit]) == pytest.approx((1.0 - start_s) * 16_000, abs=2)
    assert np.abs(found[2][-1000:]).min() > 0.4


def test_mu_law_without_a_header_is_read(packages):
    raw = next(person for person in found_people.PEOPLE if person.raw)
    wave = dict(found_people.recordings(raw, packages))[7]
    assert len(wave) == pytest.approx(16_000, abs=2)
    assert np.abs(wave[:7900]).max() < 0.05 and np.abs(wave[8100:]).max() > 0.5


def test_a_missing_package_is_named(packages, tmp_path, capsys):
    (packages / "usr/share/scid/sounds/8.wav").unlink()
    assert found_people.main([str(packages), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "scid-data" in told and "8.wav" in told and len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_another_recording_in_its_place_is_refused(packages, tmp_path, capsys):
    tile = packages / "usr/share/kajongg/voices/male1/b7.ogg"
    soundfile.write(tile, np.full(4410, 0.5, np.float32), 44_100)
    assert found_people.main([str(packages), "--out", str(tmp_path / "out")]) == 2
    assert "b7.ogg ends before 0.34 s" in capsys.readouterr().err
