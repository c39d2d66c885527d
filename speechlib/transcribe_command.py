"""`python -m speechlib transcribe FILE…`: what is said in sound files.

input -> output: sound files -> their text on stdout, a line each; notes and errors on stderr.
Special: a file that cannot be read costs one line and exit code 2; the other files are still done.
"""

import argparse
import json
import sys
import warnings

DEFAULT_MODEL = "whisper-digits"
UNSURE = 0.6  # whisper-digits: white noise gets 0.4, digits said clearly 0.8 and more


def add_arguments(parser):
    """The files, and how to show what was said."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="wav, flac, ogg or mp3")
    parser.add_argument("--words", action="store_true", help="start, end and probability of words")
    parser.add_argument(
        "--timestamps",
        action="store_true",
        help="start and end of segments, as the model marks them (Whisper models with time tokens)",
    )
    parser.add_argument("--language", help='"en", for example (default: what the model hears)')
    parser.add_argument("--task", default="transcribe", choices=("transcribe", "translate"),
                        help="translate: into English, where the model can (default: transcribe)")
    parser.add_argument(
        "--beams", type=_beams, default=1, help="texts kept while searching (default: 1, greedy)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a file")
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="a bundled name, a folder, or a hub name such as openai/whisper-tiny, which is "
        f"downloaded once (default: {DEFAULT_MODEL})",
    )


def _beams(text):
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def run(arguments):
    """Transcribe every file; returns 0, or 2 when some file or the model could not be read."""
    model, code = None, 0
    for file in arguments.files:
        try:
            samples, notes = _heard(file)
            if model is None:
                model = _load(arguments.model)
            transcript, more = _transcribed(samples, model, arguments)
        except _ModelError:
            raise
        except (ValueError, OSError) as error:
            print(f"speechlib transcribe: {_one_line(error, file)}", file=sys.stderr)
            code = 2
            continue
        for note in notes + more + _doubts(transcript):
            print(f"speechlib transcribe: note: {file}: {note}", file=sys.stderr)
        _show(file, transcript, arguments)
    return code


class _ModelError(ValueError):
    """The model cannot be read: no file can be done."""


def _load(name):
    import speechlib as sl

    try:
        return sl.load(name)
    except (ValueError, OSError) as error:
        raise _ModelError(f"model {name}: {error}") from error


def _heard(file):
    import speechlib as sl

    return _with_notes(lambda: sl.audio.load(file))


def _transcribed(samples, model, arguments):
    import speechlib as sl

    plain = {"words": False, "timestamps": False, "language": None, "beams": 1}
    asked = {name: getattr(arguments, name) for name in (*plain, "task")}
    options = {n: value for n, value in asked.items() if value != plain.get(n, "transcribe")}
    return _with_notes(lambda: sl.transcribe(samples, model, **options))


def _doubts(transcript):
    """A note for each window whose text the model itself does not believe."""
    return [
        f"the model is only {segment['probability']:.0%} sure of {segment['text']!r}: noise, "
        "perhaps, or words that it does not know"
        for segment in transcript.segments
        if segment["text"] and segment.get("probability", 1.0) < UNSURE
    ]


def _with_notes(call):
    """(what `call` returns, what it warned of): the library's own warnings become notes."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        value = call()
    return value, [" ".join(str(w.message).split()) for w in caught if w.category is UserWarning]


def _one_line(error, file):
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    text, file = " ".join(text.split()), " ".join(file.split())
    return text if file in text else f"{file}: {text}"  # an empty name is in every text


def _show(file, transcript, arguments):
    if arguments.json:
        print(json.dumps(_as_data(file, transcript, arguments.words), ensure_ascii=False))
    else:
        name = f"{file}: " if len(arguments.files) > 1 else ""
        print(f"{name}{transcript.text}")
        for one in transcript.segments if arguments.timestamps else ():
            print(f"  {one['start_s']:7.2f} s to {one['end_s']:6.2f} s  {one['text']}")
        for word, start_s, end_s, probability in transcript.words if arguments.words else ():
            print(f"  {start_s:7.2f} s to {end_s:6.2f} s  {probability:4.0%}  {word}")
    sys.stdout.flush()


def _as_data(file, transcript, words):
    data = {"file": file, "text": transcript.text, "language": transcript.language}
    data["segments"] = [
        {name: _rounded(value) for name, value in segment.items()}
        for segment in transcript.segments
    ]
    if words:
        names = ("word", "start_s", "end_s", "probability")
        data["words"] = [
            {name: _rounded(value) for name, value in zip(names, word, strict=True)}
            for word in transcript.words
        ]
    return data


def _rounded(value):
    return value if isinstance(value, str) else round(float(value), 3)
