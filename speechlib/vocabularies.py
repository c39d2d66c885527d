"""Two small tokenizers of the wav2vec 2.0 family, from a checkpoint's vocab.json.

input -> output: text -> list of token ids; token ids -> text.
Special: Speech2Text2 writes pieces of words, "@@" where a word goes on (Sennrich et al. 2016,
byte-pair encoding over letters); CTC models write letters, "|" between words. Spaces before
punctuation stay, unless the checkpoint says `clean_up_tokenization_spaces`.
"""

from pathlib import Path

from speechlib import checkpoints

GOES_ON = "@@"  # at the end of a piece: the word is not over
WORD_END = "</w>"  # in merges.txt: the word ends here
_SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "pad_token": "<pad>"}
_CLEANED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


def tokenizer_in(folder):
    """The tokenizer of a folder with vocab.json, or None where it is neither of the two. Raises
    ValueError for files that hold something else than tokens, their ids and settings."""
    folder = Path(folder)
    vocabulary = checkpoints.read_json(folder / "vocab.json")
    config = folder / "tokenizer_config.json"
    settings = checkpoints.read_json(config) if config.is_file() else {}
    if any(isinstance(entry, dict) for entry in vocabulary.values()):
        raise ValueError(
            f"{folder / 'vocab.json'} holds a vocabulary for each target_lang "
            f"({', '.join(list(vocabulary)[:5])}, …): expected a single one"
        )
    _check(vocabulary, folder / "vocab.json", settings, config)
    named = settings.get("tokenizer_class") or ""
    if "Speech2Text2" in named or any(token.endswith(GOES_ON) for token in vocabulary):
        return PieceTokenizer(vocabulary, settings, folder / "merges.txt")
    if "CTC" in named or (not (folder / "merges.txt").is_file() and "|" in vocabulary):
        return LetterTokenizer(vocabulary, settings)
    return None


def _check(vocabulary, file, settings, config):
    for token, number in vocabulary.items():
        if type(number) is not int or number < 0:
            raise ValueError(
                f"expected tokens and their ids (whole numbers from 0) in {file}, got {token!r}: "
                f"{number!r}; correct it there"
            )
    for name in ("tokenizer_class", "word_delimiter_token", *_SPECIAL):
        value = settings.get(name)
        if name.endswith("_token") and isinstance(value, dict):
            value = value.get("content")
        if value is not None and not isinstance(value, str):
            raise ValueError(
                f"expected {name} in {config} as text, got {value!r}; correct it there, or take "
                "it out"
            )


class VocabularyTokenizer:
    """What both have: ids, special tokens by name, text without spaces before punctuation."""

    def __init__(self, vocabulary, settings):
        self.ids = vocabulary
        self.tokens = {number: token for token, number in vocabulary.items()}
        self.lower = bool(settings.get("do_lower_case", False))
        self.cleans = settings.get("clean_up_tokenization_spaces", False)
        named = {name: settings.get(name, default) for name, default in _SPECIAL.items()}
        contents = [t.get("content") if isinstance(t, dict) else t for t in named.values()]
        self.special = {token: vocabulary[token] for token in contents if token in vocabulary}
        self.unknown = self.special.get(contents[2])

    @property
    def vocabulary_size(self) -> int:
        """How many ids there are: one more than the largest."""
        return max(self.tokens) + 1

    def id(self, token: str) -> int:
        """The id of one token. Raises ValueError when there is none."""
        if token not in self.ids:
            raise ValueError(f"no token {token!r} here; the special ones are {list(self.special)}")
        return self.ids[token]

    def token(self, number: int) -> str:
        """The token of one id. Raises ValueError for no such id."""
        if int(number) not in self.tokens:
            raise ValueError(f"token id {number} is not in 0 to {self.vocabulary_size - 1}")
        return self.tokens[int(number)]

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, without any start or end token. Raises ValueError for what cannot be
        written where there is no unknown token."""
        found = [self.ids.get(piece, self.unknown) for piece in self._pieces(text)]
        if None in found:
            raise ValueError(f"{text!r} has characters that the vocabulary does not have")
        return found

    def decode(self, ids, skip_special: bool = True) -> str:
        """The text of `ids`; special tokens and ids below 0 are left out."""
        left_out = self.special.values() if skip_special else ()
        kept = [int(number) for number in ids if number >= 0 and int(number) not in left_out]
        text = self._joined([self.tokens.get(number, "") for number in kept])
        for spaced in _CLEANED if self.cleans else ():
            text = text.replace(spaced, spaced.strip())
        return text


class PieceTokenizer(VocabularyTokenizer):
    """Speech2Text2's: merges.txt says which letters go together, the most frequent pair first.
    Without that file it only decodes."""

    def __init__(self, vocabulary, settings, merges):
        super().__init__(vocabulary, settings)
        self.ranks = None
        if merges.is_file():
            lines = merges.read_text(encoding="utf-8").split("\n")
            pairs = [tuple(line.split()[:2]) for line in lines if len(line.split()) > 1]
            self.ranks = {pair: rank for rank, pair in enumerate(pairs)}

    def _pieces(self, text):
        if self.ranks is None:
            raise ValueError(
                "expected merges.txt beside vocab.json to write text as tokens, found none: "
                "without it this tokenizer only decodes"
            )
        text = text.lower() if self.lower else text
        return [piece for word in text.split() for piece in self._split(word)]

    def _split(self, word):
        """"lower" -> ["lo@@", "wer"]: letters, joined by the earliest merge until none fits."""
        parts = [*word[:-1], word[-1] + WORD_END]
        while len(parts) > 1:
            pairs = list(zip(parts[:-1], parts[1:], strict=True))
            best = min(pairs, key=lambda pair: self.ranks.get(pair, len(self.ranks)))
            if best not in self.ranks:
                break
            joined = []
            for part in parts:
                if joined and (joined[-1], part) == best:
                    joined[-1] += part
                else:
                    joined.append(part)
            parts = joined
        return [part + GOES_ON for part in parts[:-1]] + [parts[-1].removesuffix(WORD_END)]

    def _joined(self, tokens):
        return " ".join(tokens).replace(GOES_ON + " ", "")


class LetterTokenizer(VocabularyTokenizer):
    """A CTC model's: a token a letter. `do_lower_case` means upper-case letters for lower-case
    text."""

    def __init__(self, vocabulary, settings):
        super().__init__(vocabulary, settings)
        delimiter = settings.get("word_delimiter_token") or "|"
        self.between = delimiter.get("content") if isinstance(delimiter, dict) else delimiter

    def _pieces(self, text):
        text = text.upper() if self.lower else text
        return [self.between if letter == " " else letter for letter in text]

    def _joined(self, tokens):
        text = "".join(" " if token == self.between else token for token in tokens).strip()
        return text.lower() if self.lower else text
