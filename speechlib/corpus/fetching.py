"""One file from the network: address -> file on the disk, whole and with the right checksum.

pooch keeps the cache and the checksums. What it lacks is here, as a downloader that it is handed:
a connection that is cut or silent is taken up again where it stopped (HTTP Range), in the same call
or in a later one. What has come so far lies in NAME.part; NAME is only ever the whole file.
"""

import contextlib
import hashlib
import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from speechlib import paths

SUMS = "SHA256SUMS"  # checksums recorded at the first download, where none is published
CONNECT_S = 10.0  # for a connection
TIMEOUT_S = 30.0  # without a single byte
TRIES = 3  # in a row that bring less than ENOUGH
ENOUGH = 1_000_000  # bytes
PAUSE_S = 1.0  # before the second try; doubled before each further one
CHUNK = 1 << 16  # bytes
PASSING = (408, 425, 429)  # HTTP answers below 500 that another try may change


@dataclass(frozen=True)
class Archive:
    """url; checksum as published, "sha256:…" or "md5:…", None where no published one is known;
    size in bytes, None where it is not known; saved_as: file name, else the address' last part."""

    url: str
    checksum: str | None = None
    size: int | None = None
    saved_as: str = ""

    @property
    def name(self) -> str:
        return self.saved_as or self.url.rpartition("/")[2]


class Unreachable(ValueError):
    """The file did not come; whether another try may help was decided already."""


class _Passing(Exception):
    """This try failed, another may not."""


def fetch(archive: Archive, folder: Path, progress: bool = True) -> Path:
    """The archive's file in `folder`; downloaded if it is not there yet, checked in any case.

    Raises ValueError for an address that cannot be reached, a connection that fails TRIES times in
    a row, and a wrong checksum (the file is deleted then). A later call goes on from what has come.
    """
    import pooch

    path = folder / archive.name
    if not path.exists():
        pooch.get_logger().setLevel("WARNING")  # it would tell everybody to change the program
        part = folder / f"{archive.name}.part"
        box = folder / f".{archive.name}.pooch"  # its temporary files outlive a process killed
        came = pooch.retrieve(archive.url, None, archive.name, box,
                              downloader=Resuming(part, progress))
        os.replace(came, path)
        shutil.rmtree(box, ignore_errors=True)
    known = archive.checksum or recorded(folder).get(archive.name)
    if known and (came := checksum(path, known.partition(":")[0])) != known:
        path.unlink()
        where = "published" if archive.checksum else f"recorded in {folder / SUMS}"
        raise ValueError(
            f"expected {archive.name} with the checksum {known} ({where}), came {came}; the file "
            f"was deleted: try again; if it stays so, {archive.url} has changed"
        )
    return path


def checksum(path: Path, algorithm: str) -> str:
    """"sha256:…" or "md5:…" of a file, read piece by piece."""
    with open(path, "rb") as file:
        return f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"


def recorded(folder: Path) -> dict[str, str]:
    """File name -> "sha256:…" as noted at its first download."""
    with contextlib.suppress(FileNotFoundError):
        rows = (row.split() for row in (folder / SUMS).read_text("utf-8").splitlines())
        return {name: f"sha256:{digest}" for digest, name in rows}
    return {}


def record(path: Path) -> None:
    """Note the checksum of a file, for the downloads to come."""
    sums = recorded(path.parent) | {path.name: checksum(path, "sha256")}
    text = "".join(f"{digest.partition(':')[2]}  {name}\n" for name, digest in sums.items())
    paths.write_whole(path.parent / SUMS, lambda file: Path(file).write_text(text, "utf-8"))


class Resuming:
    """A downloader in pooch's sense that keeps what has come in `part` and goes on from there."""

    def __init__(self, part: Path, progress: bool = True):
        self.part, self.progress = part, progress
        self.tag = part.with_name(part.name + ".tag")  # which version of the file `part` is of

    def __call__(self, url, output_file, pooch, check_only=False):
        failures = 0
        while True:
            before = self._have()
            try:
                self._go_on(url, before)
                break
            except _Passing as error:
                failures = 0 if self._have() - before >= ENOUGH else failures + 1
                if failures == TRIES:
                    raise Unreachable(self._report(url, error)) from error
                time.sleep(PAUSE_S * 2 ** max(failures - 1, 0))
        os.replace(self.part, output_file)
        self.tag.unlink(missing_ok=True)

    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _report(self, url, error):
        have = self._have()
        kept = f"; {have:,} bytes are kept in {self.part}" if have else ""
        byhand = self.part.with_suffix("")
        return (f"expected {url}, but {error} ({TRIES} tries){kept}: check the network and call "
                f"again{', it goes on from there' if have else ''}, or put the file at {byhand}")

    def _go_on(self, url, have):
        """One request for what is still lacking; raises _Passing when it stopped before the end."""
        import requests

        headers = {"Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.tag.exists():
                headers["If-Range"] = self.tag.read_text("utf-8")
        try:
            times = (CONNECT_S, TIMEOUT_S)
            with requests.get(url, headers=headers, stream=True, timeout=times) as response:
                if response.status_code == 416:
                    self._past_the_end(response, have)
                    return
                _check_status(url, response, self.part.with_suffix(""))
                self._receive(response, have)
        except requests.RequestException as error:
            raise _Passing(_in_words(error)) from error
        except OSError as error:
            said = error.strerror or error
            raise Unreachable(f"{self.part} cannot be written: {said}") from error

    def _past_the_end(self, response, have):
        """The server has nothing after `have`: either all is here, or another file than before."""
        if not have or response.headers.get("Content-Range") != f"bytes */{have}":
            self.part.unlink(missing_ok=True)
            raise _Passing("the file has changed on the server since its first part came")

    def _receive(self, response, have):
        whole = response.status_code == 200  # the server gives all of it, from the beginning
        start, total = (0, response.headers.get("Content-Length")) if whole else _range(response)
        if start != have and not whole:
            raise _Passing(f"the server went on from byte {start}, not from {have} as asked")
        self._remember_version(response)
        total = int(total) if total and total.isdigit() else None
        with open(self.part, "wb" if whole else "ab") as file:
            with self._bar(start, total) as bar:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self._have() != total:
            raise _Passing(f"the connection ended after {self._have():,} of {total:,} bytes")

    def _remember_version(self, response):
        strong = response.headers.get("ETag", "W/")
        tag = response.headers.get("Last-Modified") if strong.startswith("W/") else strong
        if tag:
            self.tag.write_text(tag, "utf-8")
        else:
            self.tag.unlink(missing_ok=True)

    def _bar(self, start, total):
        return progress_bar(self.part.stem, start, total, self.progress)


def progress_bar(title, start, total, shown):
    """A bar of bytes with the time left; nothing where the output is no terminal or notebook."""
    from tqdm.auto import tqdm

    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    hidden = (False if hasattr(shell, "kernel") else None) if shown else True
    return tqdm(total=total, initial=start, unit="B", unit_scale=True, desc=title, disable=hidden)


def _range(response):
    """(first byte, length of the whole file or "*") that an answer 206 says it has."""
    unit_and_span, _, total = response.headers.get("Content-Range", "").partition("/")
    first = unit_and_span.removeprefix("bytes ").partition("-")[0]
    return (int(first) if first.isdigit() else None), total


def _check_status(url, response, byhand):
    status = f"the server answered {response.status_code} {response.reason}"
    if response.status_code >= 500 or response.status_code in PASSING:
        raise _Passing(status)
    if response.status_code not in (200, 206):
        raise Unreachable(f"expected {url}, but {status}: the file may have moved; where you have "
                          f"it from elsewhere, put it at {byhand}")


def _in_words(error):
    import requests

    said = str(error)
    if isinstance(error, requests.ConnectTimeout):
        return f"there was no connection within {CONNECT_S:g} s"
    if isinstance(error, requests.Timeout) or "timed out" in said:
        return f"nothing came for {TIMEOUT_S:g} s"
    if isinstance(error, requests.exceptions.ChunkedEncodingError) or "IncompleteRead" in said:
        return "the connection was cut"
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not accepted"
    if isinstance(error, requests.ConnectionError):
        return "there is no connection"
    return f"the request failed ({type(error).__name__})"
