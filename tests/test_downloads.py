"""Real corpora from a server that stalls, cuts, lies and sends what it should not.

Everything runs against a server on the loopback address with corpora made here, in the published
layouts; no test reaches the network.
"""

import gzip
import hashlib
import io
import json
import tarfile
import threading
import time
import urllib.parse
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from speechlib import cli, corpus
from speechlib.corpus import downloads, fetching
from speechlib.corpus.fetching import Archive

NAME = "speech-commands"


def sound(kind, seconds=0.3, rate=16_000, seed=0):
    """The bytes of a sound file of noise, which no archive makes smaller."""
    import soundfile

    data = io.BytesIO()
    noise = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(data, noise, rate, format=kind)
    return data.getvalue()


def tar_gz(members):
    """Name -> bytes, or a prepared TarInfo without content, as the bytes of a tar.gz."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def odd(name, kind, target=""):
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


SPOKEN = [("yes", "0a"), ("yes", "1b"), ("no", "1b"), ("no", "2c"), ("no", "3d")]
COMMANDS = {
    "./validation_list.txt": b"yes/1b_nohash_0.wav\nno/1b_nohash_0.wav\n",
    "./testing_list.txt": b"no/2c_nohash_0.wav\n",
    "./_background_noise_/hum.wav": sound("WAV", seed=9),
    **{f"./{word}/{voice}_nohash_0.wav": sound("WAV", 2.0, seed=n)
       for n, (word, voice) in enumerate(SPOKEN)},
}
ARCHIVE = tar_gz(COMMANDS)  # about 0.3 MB


class Server(ThreadingHTTPServer):
    """Serves `files`; `mood(handler, whole)` may misbehave first, and True means: that was all."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files, self.asked, self.tag, self.ranges = {}, [], '"1"', True
        self.mood = lambda handler, whole: False
        self.over = threading.Event()

    @property
    def address(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass  # the client hung up on a stalled answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        server, whole = self.server, self.server.files.get(self.path[1:])
        server.asked.append(self.headers.get("Range"))
        if whole is None:
            return self.send_error(404)
        if server.mood(self, whole):
            return
        self.begin(whole)
        self.wfile.write(whole[self.start:])

    def begin(self, whole):
        """The headers of an answer: all of `whole`, or what a Range asks for."""
        wanted, version = self.headers.get("Range"), self.headers.get("If-Range")
        same = version in (None, self.server.tag)
        self.start = int(wanted[6:-1]) if wanted and same and self.server.ranges else 0
        if wanted and self.start >= len(whole):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(whole)}")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        self.send_response(206 if self.start else 200)
        if self.start:
            span = f"bytes {self.start}-{len(whole) - 1}/{len(whole)}"
            self.send_header("Content-Range", span)
        self.send_header("Content-Length", str(len(whole) - self.start))
        self.send_header("ETag", self.server.tag)
        self.end_headers()

    def cut(self, whole, end):
        """Promise everything, send up to byte `end`, hang up."""
        self.begin(whole)
        self.wfile.write(whole[self.start:end])
        self.wfile.flush()
        self.close_connection = True
        return True


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "PAUSE_S", 0.0)
    monkeypatch.setattr(fetching, "ENOUGH", 100_000)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def place(server, tmp_path, monkeypatch):
    """A folder for corpora; speech-commands comes from the server, its checksum is known."""
    offer(server, monkeypatch, {"a.tar.gz": ARCHIVE})
    monkeypatch.setenv("SPEECHLIB_CORPORA", str(tmp_path / "corpora"))
    return tmp_path / "corpora"


def offer(server, monkeypatch, files, name=NAME, known=True):
    """Let the server have `files` and be where the corpus `name` comes from."""
    server.files |= files
    archives = tuple(
        Archive(f"{server.address}/{urllib.parse.quote(file)}",
                f"sha256:{hashlib.sha256(data).hexdigest()}" if known else None, len(data))
        for file, data in files.items())
    monkeypatch.setitem(downloads.SOURCES, name,
                        replace(downloads.SOURCES[name], archives=archives))


def left_in(place):
    """What lies in the folder for corpora, but for the lock and pooch's temporary folder."""
    found = place.iterdir() if place.exists() else []
    return sorted(p.name for p in found if p.suffix not in (".lock", ".pooch"))


def refused(match, name=NAME, **options):
    """A download that must fail with one line; returns the line."""
    with pytest.raises(ValueError, match=match) as caught:
        corpus.download(name, progress=False, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- when all goes well --------------------------------------------------------------------------


def test_utterances_with_splits_by_speaker(place):
    everything = corpus.download(NAME, progress=False)
    assert left_in(place) == [NAME]  # the archive is not kept twice
    found = {(u.text, u.voice): u.split for u in everything}
    assert found == {("yes", "0a"): "train", ("yes", "1b"): "valid", ("no", "1b"): "valid",
                     ("no", "2c"): "test", ("no", "3d"): "train"}
    test = corpus.download(NAME, "test")
    (utterance,) = test
    assert (utterance.kind, utterance.duration_s) == ("keyword", 2.0)
    assert len(utterance.wave()) == 32_000 and utterance.words == ()
    assert len(test) == 1 and test[0] == test[-1] == utterance and test[:] == [utterance]
    assert [u.text for u in everything[1:3]] == [everything[1].text, everything[2].text]
    assert everything.voices() == {"0a": 1, "1b": 2, "2c": 1, "3d": 1}
    assert list(everything) == [everything[n] for n in range(len(everything))]
    with pytest.raises(IndexError):
        test[1]


def test_second_call_is_offline_and_quick(server, place):
    corpus.download(NAME, progress=False)
    asked = len(server.asked)
    server.shutdown()
    server.server_close()
    start = time.perf_counter()
    again = corpus.download(NAME)
    assert time.perf_counter() - start < 0.1 and len(again) == 5
    assert len(server.asked) == asked


def test_only_what_is_asked_for_is_read(place, monkeypatch):
    everything = corpus.download(NAME, progress=False)
    for file in everything.folder.rglob("*.wav"):
        file.unlink()
    first = next(iter(everything))
    assert first.duration_s == 2.0  # from the manifest
    with pytest.raises(ValueError, match="does not exist"):
        first.wave()
    with open(everything.folder / downloads.MANIFEST, "a") as file:
        file.write("not a row\n")  # nobody who asks for the first line comes here
    assert next(iter(everything)) == first


def test_librispeech_in_two_archives(server, place, monkeypatch):
    parts = {
        part: tar_gz({"LibriSpeech/README.TXT": b"about",
                      f"LibriSpeech/{part}/{voice}/7/{voice}-7.trans.txt":
                          f"{voice}-7-0000 IT'S  A TALE\n{voice}-7-0001 TOLD\n".encode(),
                      **{f"LibriSpeech/{part}/{voice}/7/{voice}-7-000{n}.flac": sound("FLAC")
                         for n in (0, 1)}})
        for part, voice in (("train-clean-5", "84"), ("dev-clean-2", "174"))
    }
    offer(server, monkeypatch, {f"{p}.tar.gz": data for p, data in parts.items()},
          "mini-librispeech")
    found = list(corpus.download("mini-librispeech", progress=False))
    assert [(u.voice, u.split, u.text) for u in found] == [
        ("174", "valid", "it's a tale"), ("174", "valid", "told"),
        ("84", "train", "it's a tale"), ("84", "train", "told")]
    assert all(u.duration_s == 0.3 and len(u.wave()) == 4800 for u in found)
    assert left_in(place) == ["mini-librispeech"]


def test_free_spoken_digits_and_a_checksum_that_nobody_published(
        server, place, monkeypatch, capsys):
    voices = {"george": "train", "theo": "test", "lucas": "valid"}
    data = tar_gz({f"free-1.0.10/recordings/{n}_{voice}_0.wav": sound("WAV", rate=8000)
                   for voice in voices for n in (0, 7)})
    offer(server, monkeypatch, {"digits.tar.gz": data}, "free-spoken-digits", known=False)
    found = list(corpus.download("free-spoken-digits", progress=False))
    assert {(u.text, u.voice, u.split) for u in found} == {
        (text, *row) for text in ("zero", "seven") for row in voices.items()}
    assert len(found[0].wave()) == 4800  # 8 kHz, read at 16 kHz
    said = capsys.readouterr().out
    assert "no checksum is published" in said and str(place / "SHA256SUMS") in said
    digest = hashlib.sha256(data).hexdigest()
    assert (place / "SHA256SUMS").read_text() == f"{digest}  digits.tar.gz\n"
    # another machine's download of something else is noticed from then on
    (place / "free-spoken-digits").rename(place / "old")
    server.files["digits.tar.gz"] = tar_gz({"free-1.0.10/recordings/0_theo_0.wav": sound("WAV")})
    assert digest in refused("recorded in .*SHA256SUMS", "free-spoken-digits")
    server.files["digits.tar.gz"] = data
    assert len(corpus.download("free-spoken-digits", progress=False)) == 6


def test_an_archive_fetched_by_hand_needs_no_network(server, place):
    server.files.clear()
    place.mkdir()
    (place / "a.tar.gz").write_bytes(ARCHIVE)
    assert len(corpus.download(NAME, progress=False)) == 5 and server.asked == []


def test_the_command(server, place, capsys):
    assert cli.main(["corpus", "download", NAME]) == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[:3] == [
        "train: 2 utterances, 2 voices, 4 s", "valid: 2 utterances, 1 voices, 4 s",
        "test: 1 utterances, 1 voices, 2 s"]
    assert "CC BY 4.0" in said.out and said.err == ""
    server.files.clear()
    assert cli.main(["corpus", "download", NAME, "--folder", str(place / "other")]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and "404" in said.err


# -- a network as it is --------------------------------------------------------------------------


def test_a_cut_connection_is_gone_on_from_where_it_stopped(server, place):
    server.mood = lambda handler, whole: (
        len(server.asked) <= 2 and handler.cut(whole, 131_072 * len(server.asked)))
    assert len(corpus.download(NAME, progress=False)) == 5
    starts = [int(asked[6:-1]) for asked in server.asked[1:]]
    assert server.asked[0] is None and 0 < starts[0] <= 131_072 < starts[1] <= 262_144


def test_a_stalled_server_is_given_up_and_asked_again(server, place, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.3)

    def stall(handler, whole):
        if len(server.asked) > 1:
            return False
        handler.begin(whole)
        handler.wfile.write(whole[:200_000])
        server.over.wait(20)
        return True

    server.mood = stall
    start = time.perf_counter()
    assert len(corpus.download(NAME, progress=False)) == 5
    assert time.perf_counter() - start < 5 and server.asked[1].startswith("bytes=")


def test_a_server_that_never_answers_is_one_line(server, place, monkeypatch):
    monkeypatch.setattr(fetching, "TIMEOUT_S", 0.2)
    server.mood = lambda handler, whole: server.over.wait(20) or True
    assert f"({fetching.TRIES} tries)" in refused("nothing came for 0.2 s")
    assert len(server.asked) == fetching.TRIES and left_in(place) == []


def test_a_later_call_goes_on_from_there(server, place):
    server.mood = lambda handler, whole: handler.cut(whole, 150_000)
    line = refused("cut")
    assert "it goes on from there" in line and "a.tar.gz.part" in line
    assert left_in(place) == ["a.tar.gz.part", "a.tar.gz.part.tag"]
    had = (place / "a.tar.gz.part").stat().st_size
    server.mood, asked = (lambda handler, whole: False), len(server.asked)
    assert len(corpus.download(NAME, progress=False)) == 5
    assert server.asked[asked:] == [f"bytes={had}-"]


def test_a_server_without_ranges_starts_again(server, place):
    server.ranges = False
    server.mood = lambda handler, whole: len(server.asked) == 1 and handler.cut(whole, 150_000)
    assert len(corpus.download(NAME, progress=False)) == 5


def test_halves_of_two_versions_are_not_joined(server, place):
    server.mood = lambda handler, whole: handler.cut(bytes(len(whole)), 150_000)
    refused("cut")
    assert (place / "a.tar.gz.part").stat().st_size > 0
    server.tag, server.mood = '"2"', lambda handler, whole: False
    assert len(corpus.download(NAME, progress=False)) == 5


@pytest.mark.parametrize("extra", [0, 9], ids=["exactly", "too much"])
def test_a_part_that_has_everything(server, place, extra):
    """A process that is killed after the last byte leaves such a part."""
    place.mkdir()
    (place / "a.tar.gz.part").write_bytes(ARCHIVE + bytes(extra))
    assert len(corpus.download(NAME, progress=False)) == 5
    assert len(server.asked) == (2 if extra else 1)


@pytest.mark.parametrize("status", [404, 403, 410])
def test_no_second_try_where_it_would_not_help(server, place, status):
    server.mood = lambda handler, whole: handler.send_error(status) or True
    line = refused(f"the server answered {status}")
    assert server.address in line and str(place / "a.tar.gz") in line
    assert len(server.asked) == 1 and left_in(place) == []


def test_a_server_in_trouble_is_asked_again(server, place):
    server.mood = lambda handler, whole: len(server.asked) < 3 and (handler.send_error(500) or True)
    assert len(corpus.download(NAME, progress=False)) == 5
    server.mood = lambda handler, whole: handler.send_error(503) or True
    refused("answered 503 .*3 tries", folder=place / "other")


def test_no_server_at_all(server, place):
    server.shutdown()
    server.server_close()
    line = refused("there is no connection")
    assert server.address in line and "check the network" in line and left_in(place) == []


# -- what came is not what was expected ----------------------------------------------------------


def test_a_wrong_checksum(server, place):
    server.files["a.tar.gz"] = wrong = tar_gz(COMMANDS | {"./more.txt": b"more"})
    line = refused("with the checksum sha256:")
    assert hashlib.sha256(ARCHIVE).hexdigest() in line
    assert hashlib.sha256(wrong).hexdigest() in line and "try again" in line
    assert left_in(place) == []
    server.files["a.tar.gz"] = ARCHIVE
    assert len(corpus.download(NAME, progress=False)) == 5


def stored(data):
    """A tar.gz anew, cut inside the tar: gzip has nothing to complain about."""
    return gzip.compress(gzip.decompress(data)[:-60_000])


@pytest.mark.parametrize(
    "data",
    [ARCHIVE[:-5000], ARCHIVE[:-4], ARCHIVE[:100_000] + b"\0" + ARCHIVE[100_001:], stored(ARCHIVE),
     b"", b"<html>sign in to this network</html>", tar_gz({"readme.txt": b"nothing else"}),
     tar_gz(COMMANDS | {"./yes/0a_nohash_0.wav": b"no sound"}),
     tar_gz(COMMANDS | {"./yes/0a_nohash_0.wav/x": b"below a file"})],
    ids=["cut", "no end", "one byte", "cut tar", "empty", "a page", "other content", "no sound",
         "file and folder"])
def test_a_damaged_archive_is_deleted(server, place, monkeypatch, data):
    offer(server, monkeypatch, {"a.tar.gz": data}, known=False)
    line = refused("expected")
    assert "the archive was deleted" in line and left_in(place) == []
    offer(server, monkeypatch, {"a.tar.gz": ARCHIVE}, known=False)
    assert len(corpus.download(NAME, progress=False)) == 5


@pytest.mark.parametrize(
    "name, content",
    [("../evil.wav", b"x"), ("yes/../../evil.wav", b"x"), ("/tmp/evil-speechlib.wav", b"x"),
     ("yes\\..\\..\\evil.wav", b"x"), ("C:/evil.wav", b"x"), ("C:evil.wav", b"x"),
     ("link", odd("link", tarfile.SYMTYPE, "..")),
     ("link", odd("link", tarfile.SYMTYPE, "/etc/passwd")),
     ("link", odd("link", tarfile.LNKTYPE, "yes/0a_nohash_0.wav")),
     ("pipe", odd("pipe", tarfile.FIFOTYPE)), ("disk", odd("disk", tarfile.BLKTYPE))])
def test_an_archive_that_reaches_outside_is_refused(server, place, monkeypatch, name, content):
    offer(server, monkeypatch, {"a.tar.gz": tar_gz(COMMANDS | {name: content})})
    line = refused("nothing of it is used")
    assert repr(name) in line
    assert left_in(place) == [] and sorted(p.name for p in place.parent.iterdir()) == ["corpora"]


# -- nothing half-written is ever taken for whole -------------------------------------------------


@pytest.mark.parametrize("step", ["fetch", "unpack", "_duration", "write_whole", "replace"])
def test_a_call_that_dies_leaves_nothing_that_looks_whole(server, place, monkeypatch, step):
    """Killed anywhere, cleaning up included, the next call makes it good."""
    owner = {"fetch": fetching, "unpack": downloads.unpacking, "_duration": downloads,
             "write_whole": downloads.paths, "replace": downloads.os}[step]

    def die(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(owner, step, die)
        patch.setattr(downloads.shutil, "rmtree", lambda *given, **options: None)
        with pytest.raises(KeyboardInterrupt):
            corpus.download(NAME, progress=False)
    assert NAME not in left_in(place)
    assert len(corpus.download(NAME, progress=False)) == 5
    assert left_in(place) == [NAME]


def test_a_full_disk_is_one_line(server, place, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(downloads.shutil, "disk_usage", lambda path: type("", (), {"free": 1000}))
        refused("expected 0.0 GB free .*found 0.0")

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(downloads.shutil, "copyfileobj", full)
        refused("No space left on device.* is kept")
    assert left_in(place) == ["a.tar.gz"]
    asked = len(server.asked)
    assert len(corpus.download(NAME, progress=False)) == 5 and len(server.asked) == asked


def test_what_a_killed_process_leaves_is_tidied_up(server, place):
    box = place / ".a.tar.gz.pooch"
    box.mkdir(parents=True)
    (box / "tmp_half").write_bytes(ARCHIVE[:1000])
    assert len(corpus.download(NAME, progress=False)) == 5 and not box.exists()
    box.mkdir()
    (box / "a.tar.gz").write_bytes(ARCHIVE)  # killed after the last byte, before the file was moved
    (place / NAME).rename(place / "old")
    asked = len(server.asked)
    assert len(corpus.download(NAME, progress=False)) == 5 and len(server.asked) == asked


def test_two_processes_do_not_write_into_one_another(server, place):
    pytest.importorskip("fcntl")
    place.mkdir()
    with downloads._alone(place / f".{NAME}.lock", NAME):
        refused("by another process")
    assert len(corpus.download(NAME, progress=False)) == 5


def test_a_folder_of_somebody_else_is_left_alone(place):
    (place / NAME).mkdir(parents=True)
    (place / NAME / "mine.txt").write_text("mine")
    refused("found it without manifest.jsonl: move it away")
    assert (place / NAME / "mine.txt").read_text() == "mine"


def test_wrong_names(place):
    refused("expected one of free-spoken-digits, speech-commands", "timit")
    refused("expected split to be one of train, valid, test or None, got 'dev'", split="dev")
    assert left_in(place) == []


def test_the_table_has_published_checksums_or_none():
    for name, source in downloads.SOURCES.items():
        for archive in source.archives:
            assert archive.url.startswith("https://") and archive.name.endswith(".tar.gz")
            if name == "free-spoken-digits":
                assert archive.checksum is None
                continue
            algorithm, _, digest = archive.checksum.partition(":")
            assert len(bytes.fromhex(digest)) == {"sha256": 32, "md5": 16}[algorithm]
            assert archive.size > 1e8


def test_manifest_has_the_bundled_format(place):
    folder = corpus.download(NAME, progress=False).folder
    bundled = json.loads((downloads.paths.data_folder() / "digits" / "manifest.jsonl").open()
                         .readline())
    row = json.loads((folder / downloads.MANIFEST).open().readline())
    assert row.keys() == bundled.keys() - {"words", "phones"}
