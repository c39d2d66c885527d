"""Text to token numbers and back, from a checkpoint's own files.

input -> output: text -> list of token ids; token ids -> text, or words and the tokens of each.
Special here: Whisper's byte-level pairs (Radford et al. 2022, after Sennrich et al. 2016) and the
toy corpus' one-word-one-token vocabulary stand behind one class.
"""

import string
from pathlib import Path

import numpy as np

from speechlib import checkpoints

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>",
)  # fmt: skip
DIGIT_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
)  # fmt: skip
WITHOUT_SPACES = {"zh", "ja", "th", "lo", "my", "yue"}  # languages that put none between words

_BROKEN = "\ufffd"  # what a decoder writes for bytes that are not (yet) a whole character


def load_tokenizer(folder) -> "Tokenizer":
    """The tokenizer of a checkpoint folder.

    Reads tokenizer.json or, where there is none, vocab.json and merges.txt with added_tokens.json
    and tokenizer_config.json when present: byte pairs (older Whisper folders), or Speech2Text2's
    word pieces or a CTC model's letters (`vocabularies.py`).
    Raises ValueError when the files are missing, half there or not what they should be.
    """
    folder = Path(folder)
    if (folder / "tokenizer.json").is_file():
        return Tokenizer(_backend_from_json(folder / "tokenizer.json"))
    if (folder / "vocab.json").is_file():
        from speechlib import vocabularies

        other = vocabularies.tokenizer_in(folder)
        if other is not None:
            return other
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return Tokenizer(_backend_from_vocabulary(folder))
    found = sorted(path.name for path in folder.glob("*")) if folder.is_dir() else "no such folder"
    raise ValueError(
        f"expected tokenizer.json, or vocab.json with merges.txt, in {folder}; found {found}. "
        "Copy the tokenizer's files into the folder"
    )


def word_tokenizer(
    words=DIGIT_WORDS, special=SPECIAL_TOKENS, folder=None, words_first=False
) -> "Tokenizer":
    """A tokenizer that knows whole words: ids 0.. for `special`, then one for each word.

    folder: where to write tokenizer.json; None: nowhere. Text is lower-cased and split at spaces.
    words_first: the words' ids before the special ones, as a Whisper with time tokens has them:
    its rules take all ids below the end token for text.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, normalizers, pre_tokenizers

    tokens = [*words, *special] if words_first else [*special, *words]
    if len(set(tokens)) != len(tokens):
        raise ValueError(f"every word and special token must occur once, got {tokens}")
    backend = Backend(models.WordLevel({token: number for number, token in enumerate(tokens)}))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.add_special_tokens(list(special))
    tokenizer = Tokenizer(backend)
    if folder is not None:
        tokenizer.save(folder)
    return tokenizer


class Tokenizer:
    """A checkpoint's vocabulary: text -> ids -> text, and its special tokens by name.

    special: dict name -> id of the tokens that are never spoken (markers, languages, tasks, times).
    """

    def __init__(self, backend):
        self.backend = backend
        added = backend.get_added_tokens_decoder()
        self.special = {
            token.content: number
            for number, token in sorted(added.items())
            if token.special or _is_marker(token.content)
        }
        self._special_ids = set(self.special.values())
        self._byte_level = type(backend.model).__name__ != "WordLevel"

    @property
    def vocabulary_size(self) -> int:
        """How many ids there are: one more than the largest."""
        return max(self.backend.get_vocab(with_added_tokens=True).values()) + 1

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without any start or end token.

        Raises ValueError naming the words that a word vocabulary does not have.
        """
        try:
            return self.backend.encode(text, add_special_tokens=False).ids
        except Exception as error:  # the library raises bare Exception for a word it cannot write
            spelt = getattr(self.backend.normalizer, "normalize_str", str)  # as the backend reads
            unknown = [w for w in text.split() if self.backend.token_to_id(spelt(w)) is None]
            raise ValueError(
                f"these words are not in the vocabulary: {unknown}; it has {self.words_known()}"
            ) from error

    def decode(self, ids, skip_special: bool = True) -> str:
        """The text of `ids` (list or array of whole numbers); special tokens are left out.

        skip_special=False writes them too. Ids that name no token (-100, say) are passed over.
        """
        ids = [int(number) for number in ids if number >= 0]
        if not skip_special:
            return self.backend.decode(ids, skip_special_tokens=False)
        spoken = [number for number in ids if number not in self._special_ids]
        return self.backend.decode(spoken, skip_special_tokens=True)

    def id(self, token: str) -> int:
        """The id of one token, `"<|en|>"` for instance. Raises ValueError when there is none."""
        number = self.backend.token_to_id(token)
        if number is None:
            raise ValueError(f"no token {token!r} here; the special ones are {list(self.special)}")
        return number

    def token(self, number: int) -> str:
        """The token of one id, as the vocabulary spells it. Raises ValueError for no such id."""
        token = self.backend.id_to_token(int(number)) if number >= 0 else None
        if token is None:
            raise ValueError(f"token id {number} is not in 0 to {self.vocabulary_size - 1}")
        return token

    def words_known(self) -> list[str]:
        """The vocabulary without special tokens, by id (at most the first 50)."""
        ordered = sorted(self.backend.get_vocab().items(), key=lambda item: item[1])
        return [token for token, number in ordered if number not in self._special_ids][:50]

    def words(self, ids, spaces: bool = True) -> list[tuple[str, list[int]]]:
        """The words in `ids`, in order: (text, positions in `ids` of the word's tokens).

        Byte pairs: a word starts at a space or a punctuation mark, as Whisper's word times have it;
        with spaces=False (languages WITHOUT_SPACES) every whole character stands alone.
        A word vocabulary: every token is a word. Special tokens belong to no word. Byte-pair words
        keep their leading space, so that joining them gives the transcript back.
        """
        positions = [n for n, number in enumerate(ids) if int(number) not in self._special_ids]
        if not self._byte_level:
            return [(self.decode([ids[n]]), [n]) for n in positions]
        pieces = self._whole_characters(ids, positions)
        if not spaces:
            return pieces
        words: list[tuple[str, list[int]]] = []
        for text, numbers in pieces:
            # a part of a string: so empty text counts as punctuation, as in Whisper
            if not words or text.startswith(" ") or text.strip() in string.punctuation:
                words.append((text, numbers))
            else:
                words[-1] = (words[-1][0] + text, words[-1][1] + numbers)
        return words

    def save(self, folder) -> None:
        """Writes tokenizer.json into `folder` (made when it is not there)."""
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.backend.save(str(Path(folder) / "tokenizer.json"))

    def _whole_characters(self, ids, positions) -> list[tuple[str, list[int]]]:
        # a character may be spread over several byte tokens: wait until the text is whole
        everything = self.decode([ids[n] for n in positions])
        pieces, waiting, written = [], [], 0
        for n in positions:
            waiting.append(n)
            text = self.decode([ids[k] for k in waiting])
            at = text.find(_BROKEN)
            # the mark may also be what was really said: then the full text has it at this place
            if at < 0 or everything[written + at : written + at + 1] == _BROKEN:
                pieces.append((text, waiting))
                written += len(text)
                waiting = []
        if waiting:
            pieces.append((self.decode([ids[k] for k in waiting]), waiting))
        return pieces


def _is_marker(token: str) -> bool:
    return token.startswith("<|") and token.endswith("|>")


def _backend_from_json(path):
    from tokenizers import Tokenizer as Backend

    try:
        return Backend.from_file(str(path))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"{path} is not a tokenizer.json that can be read: {error}") from error


def _backend_from_vocabulary(folder):
    from tokenizers import AddedToken, decoders, models, pre_tokenizers
    from tokenizers import Tokenizer as Backend

    vocabulary = checkpoints.read_json(folder / "vocab.json")
    vocabulary.update(_added_tokens(folder))
    try:
        pairs = models.BPE.read_file(str(folder / "vocab.json"), str(folder / "merges.txt"))[1]
        backend = Backend(models.BPE(vocabulary, pairs))
    except Exception as error:  # the library raises bare Exception
        raise ValueError(f"vocab.json and merges.txt in {folder} do not fit: {error}") from error
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    markers = sorted(filter(_is_marker, vocabulary), key=vocabulary.get)
    backend.add_special_tokens([AddedToken(token, special=True) for token in markers])
    return backend


def _added_tokens(folder) -> dict[str, int]:
    # added_tokens.json: {token: id}; tokenizer_config.json: {"added_tokens_decoder": {id: {...}}}
    added = {}
    if (folder / "tokenizer_config.json").is_file():
        file = folder / "tokenizer_config.json"
        listed = checkpoints.read_json(file).get("added_tokens_decoder") or {}
        try:
            added.update({entry["content"]: int(number) for number, entry in listed.items()})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f'expected added_tokens_decoder in {file} as {{id: {{"content": token}}}}, got '
                f"{str(listed)[:80]}: correct it there, or take it out"
            ) from error
    if (folder / "added_tokens.json").is_file():
        added.update(checkpoints.read_json(folder / "added_tokens.json"))
    return added


def shift_tokens_right(labels, pad, start):
    """What a decoder reads while it learns to say `labels`: the start token, then all but the last.

    labels: (batch, tokens) whole numbers, NumPy, PyTorch or JAX. -100 marks a label that no loss
    looks at; it is no token, so it becomes `pad`, wherever it stands. A pad token stays what it is.
    Returns a new array of the same shape and kind.
    """
    labels = labels if hasattr(labels, "ndim") else np.asarray(labels)
    if labels.ndim != 2 or labels.shape[1] == 0:
        raise ValueError(
            f"expected labels (batch, tokens), came shape {tuple(labels.shape)}: give a single "
            "sentence as a batch of one"
        )
    if pad is None or start is None:
        raise ValueError(
            f"expected a pad and a start token, came pad {pad} and start {start}: the checkpoint's "
            "config.json names them pad_token_id and decoder_start_token_id"
        )
    if hasattr(labels, "at"):  # a JAX array is never changed in place
        shifted = labels.at[:, 1:].set(labels[:, :-1]).at[:, 0].set(start)
        return shifted + (shifted == -100) * (pad + 100)
    shifted = labels.clone() if hasattr(labels, "clone") else labels.copy()
    shifted[:, 1:] = labels[:, :-1]
    shifted[:, 0] = start
    shifted[shifted == -100] = pad
    return shifted
