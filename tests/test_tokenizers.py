"""Tokenizers against openai-whisper's (tests/golden/words.json) and transformers' own readers."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from speechlib import tokenizers

GOLDEN = json.loads((Path(__file__).parent / "golden" / "words.json").read_text("utf-8"))
SPECIAL = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|notimestamps|>", "<|0.00|>"]


def old_folder(folder, special_in="added_tokens.json"):
    """A checkpoint from before tokenizer.json: vocab.json, merges.txt, and special tokens."""
    pairs = GOLDEN["merges"]
    vocabulary = [*GOLDEN["bytes"], *(left + right for left, right in pairs)]
    ids = {token: number for number, token in enumerate(vocabulary)}
    special = {token: len(ids) + number for number, token in enumerate(SPECIAL)}
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in pairs) + "\n", encoding="utf-8"
    )
    if special_in == "vocab.json":
        ids |= special
    elif special_in == "added_tokens.json":
        (folder / special_in).write_text(json.dumps(special))
    else:
        listed = {str(number): {"content": token} for token, number in special.items()}
        (folder / special_in).write_text(json.dumps({"added_tokens_decoder": listed}))
    (folder / "vocab.json").write_text(json.dumps(ids))
    return folder


@pytest.fixture
def byte_pairs(tmp_path):
    return tokenizers.load_tokenizer(old_folder(tmp_path))


@pytest.mark.parametrize("entry", GOLDEN["texts"], ids=lambda entry: repr(entry["text"]))
def test_byte_pairs_and_words_equal_openai(byte_pairs, entry):
    ids = byte_pairs.encode(entry["text"])
    assert [byte_pairs.token(number) for number in ids] == entry["tokens"]
    assert byte_pairs.decode(ids) == entry["text"]
    words = byte_pairs.words(ids)
    assert [text for text, _ in words] == entry["words"]
    assert [len(places) for _, places in words] == entry["tokens_a_word"]
    assert [text for text, _ in byte_pairs.words(ids, spaces=False)] == entry["characters"]


@pytest.mark.parametrize("where", ["vocab.json", "added_tokens.json", "tokenizer_config.json"])
def test_special_tokens_of_old_folders(tmp_path, where):
    tokenizer = tokenizers.load_tokenizer(old_folder(tmp_path, where))
    start = tokenizer.vocabulary_size - len(SPECIAL)
    assert tokenizer.special == {token: start + number for number, token in enumerate(SPECIAL)}
    assert tokenizer.id("<|en|>") == start + 2
    text = [*tokenizer.encode(" hello"), tokenizer.id("<|0.00|>"), tokenizer.id("<|endoftext|>")]
    assert tokenizer.decode(text) == " hello"
    assert tokenizer.decode(text, skip_special=False) == " hello<|0.00|><|endoftext|>"
    assert [places for _, places in tokenizer.words(text)] == [list(range(len(text) - 2))]


def test_words_of_a_transcript_cut_inside_a_character(byte_pairs):
    ids = byte_pairs.encode(" ok 😀")
    cut = ids[:-1]
    words = byte_pairs.words(cut)
    assert [place for _, places in words for place in places] == list(range(len(cut)))


@settings(max_examples=60, deadline=None)
@given(text=st.text(max_size=30))
def test_any_text_comes_back_and_every_token_is_in_one_word(tmp_path_factory, text):
    if "folder" not in _FOLDER:
        _FOLDER["folder"] = old_folder(tmp_path_factory.mktemp("old"))
        _FOLDER["tokenizer"] = tokenizers.load_tokenizer(_FOLDER["folder"])
    tokenizer = _FOLDER["tokenizer"]
    if any(token in text for token in SPECIAL):
        return
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    for spaces in (True, False):
        words = tokenizer.words(ids, spaces=spaces)
        assert "".join(word for word, _ in words) == text
        assert [place for _, places in words for place in places] == list(range(len(ids)))


_FOLDER = {}


def test_digit_tokenizer_is_the_vocabulary_of_the_toy_corpus(tmp_path):
    tokenizers.word_tokenizer(folder=tmp_path)
    tokenizer = tokenizers.load_tokenizer(tmp_path)
    assert tokenizer.vocabulary_size == 15
    assert [tokenizer.token(number) for number in range(15)] == [
        *tokenizers.SPECIAL_TOKENS,
        *tokenizers.DIGIT_WORDS,
    ]
    assert tokenizer.special == {
        "<|endoftext|>": 0,
        "<|startoftranscript|>": 1,
        "<|en|>": 2,
        "<|transcribe|>": 3,
        "<|notimestamps|>": 4,
    }
    said = [1, 2, 3, 4, 8, 10, 8, 0, 0]
    assert tokenizer.encode("  Three FIVE\n three ") == [8, 10, 8]
    assert tokenizer.decode(said) == "three five three"
    assert tokenizer.words(said) == [("three", [4]), ("five", [5]), ("three", [6])]
    assert tokenizer.decode([]) == "" and tokenizer.encode("") == []
    assert tokenizer.decode([8, -100, 10]) == "three five"


def test_digit_tokenizer_is_read_by_transformers(tmp_path):
    transformers = pytest.importorskip("transformers")
    tokenizers.word_tokenizer(folder=tmp_path)
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "tokenizer.json"))
    assert theirs.encode("zero Nine", add_special_tokens=False) == [5, 14]
    assert theirs.decode([1, 2, 8, 10, 0], skip_special_tokens=True) == "three five"


def test_tokenizer_json_written_by_transformers_for_whisper(tmp_path):
    """A current folder: tokenizer.json with templates, saved by the other side."""
    transformers = pytest.importorskip("transformers")
    ours = tokenizers.load_tokenizer(old_folder(tmp_path, "vocab.json"))
    theirs = transformers.PreTrainedTokenizerFast(tokenizer_object=ours.backend)
    theirs.add_special_tokens({"eos_token": "<|endoftext|>"})
    theirs.save_pretrained(tmp_path / "new")
    again = tokenizers.load_tokenizer(tmp_path / "new")
    for entry in GOLDEN["texts"]:
        assert again.encode(entry["text"]) == ours.encode(entry["text"])
    assert again.special == ours.special


def test_errors_say_what_is_missing(tmp_path, byte_pairs):
    digits = tokenizers.word_tokenizer()
    with pytest.raises(ValueError, match=r"\['hello'\].*zero"):
        digits.encode("hello zero")
    with pytest.raises(ValueError, match=r"not in the vocabulary: \['xyz'\]"):
        digits.encode("One TWO xyz")  # it writes lower case
    with pytest.raises(ValueError, match="15 is not in 0 to 14"):
        digits.token(15)
    with pytest.raises(ValueError, match="-1 is not in 0 to 14"):
        digits.token(-1)
    with pytest.raises(ValueError, match="<|de|>"):
        digits.id("<|de|>")
    with pytest.raises(ValueError, match="occur once"):
        tokenizers.word_tokenizer(["a", "a"], [])
    with pytest.raises(ValueError, match="no such folder"):
        tokenizers.load_tokenizer(tmp_path / "nowhere")
    empty = tmp_path / "half"
    empty.mkdir()
    (empty / "vocab.json").write_text("{}")
    with pytest.raises(ValueError, match="merges.txt"):
        tokenizers.load_tokenizer(empty)
    (empty / "merges.txt").write_text("#version: 0.2\na b\n")
    with pytest.raises(ValueError, match="do not fit"):
        tokenizers.load_tokenizer(empty)
    (empty / "vocab.json").write_text("not json")
    with pytest.raises(ValueError, match="read as JSON"):
        tokenizers.load_tokenizer(empty)
    (empty / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="tokenizer.json that can be read"):
        tokenizers.load_tokenizer(empty)
