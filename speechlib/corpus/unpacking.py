"""A downloaded archive, which is not to be trusted: tar.gz -> files inside one folder, or an error.

Read once, from the first byte to the last, in small pieces. Only files and folders are taken;
whatever names a place outside the folder, a link or a device refuses the whole archive.
"""

import gzip
import shutil
import tarfile
import zlib
from pathlib import Path, PureWindowsPath

from speechlib.corpus.fetching import progress_bar

# what reading a damaged archive raises; the last three: a member that is a file and a folder
DAMAGE = (EOFError, zlib.error, gzip.BadGzipFile, tarfile.TarError,
          FileExistsError, IsADirectoryError, NotADirectoryError)


def unpack(archive: Path, folder: Path, progress: bool = True) -> None:
    """Unpack a tar.gz into `folder`, which must be there.

    Raises ValueError for an archive that is truncated, damaged or no tar.gz, and for one with a
    member that would lie outside of `folder` or is neither a file nor a folder.
    """
    try:
        size, title = archive.stat().st_size, f"unpacking {archive.name}"
        with (open(archive, "rb") as raw, gzip.GzipFile(fileobj=raw) as stream,
              progress_bar(title, 0, size, progress) as bar):
            with tarfile.open(fileobj=stream, mode="r|") as members:
                for member in members:
                    _take(archive, members, member, folder)
                    bar.update(raw.tell() - bar.n)
            while stream.read(1 << 20):  # the checksum of gzip stands at the very end
                pass
    except DAMAGE as error:
        raise ValueError(f"expected {archive.name} as a whole tar.gz, but it is truncated or "
                         f"damaged ({error})") from error


def _take(archive, members, member, folder):
    inside = PureWindowsPath(member.name)  # knows both kinds of slashes, and drives
    if inside.anchor or ".." in inside.parts:
        raise ValueError(f"{archive.name} would write outside of its folder, to {member.name!r}: "
                         "nothing of it is used")
    if not (member.isfile() or member.isdir()):
        raise ValueError(f"expected only files and folders in {archive.name}, but "
                         f"{member.name!r} is a link or a device: nothing of it is used")
    target = folder.joinpath(*inside.parts)
    if member.isdir():
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with members.extractfile(member) as source, open(target, "wb") as file:
        shutil.copyfileobj(source, file, 1 << 16)
    if target.stat().st_size != member.size:
        raise tarfile.ReadError(f"{member.name} is too short")
