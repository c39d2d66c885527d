"""Word pieces and letters against the tokenizers of transformers 4.46.3 (vocabularies.json)."""

import json
from pathlib import Path

import pytest

from speechlib import tokenizers, vocabularies

GOLDEN = json.loads((Path(__file__).parent / "golden" / "vocabularies.json").read_text("utf-8"))
KINDS = {"pieces": vocabularies.PieceTokenizer, "letters": vocabularies.LetterTokenizer}


def written(folder, name, merges=True, **settings):
    """A folder with the golden vocabulary, read by `load_tokenizer`."""
    ids = GOLDEN[name]["vocabulary"]
    (folder / "vocab.json").write_text(json.dumps(ids), encoding="utf-8")
    if name == "pieces" and merges:
        (folder / "merges.txt").write_text("\n".join(GOLDEN["merges"]) + "\n")
    if settings:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return tokenizers.load_tokenizer(folder)


@pytest.mark.parametrize("name", KINDS)
def test_texts_equal_transformers(name, tmp_path):
    tokenizer = written(tmp_path, name, do_lower_case=True)
    assert isinstance(tokenizer, KINDS[name])
    for text, ids, back in GOLDEN[name]["texts"]:
        assert tokenizer.encode(text) == ids, text
        assert tokenizer.decode(ids) == back, text
    tokenizer = written(
        tmp_path, name, do_lower_case=True, clean_up_tokenization_spaces=True,
        pad_token={"content": "<pad>"},
    )  # fmt: skip
    for ids, text in GOLDEN[name]["cleaned"]:
        assert tokenizer.decode(ids) == text, ids
    assert tokenizer.token(tokenizer.id("<pad>")) == "<pad>"
    assert tokenizer.vocabulary_size == len(GOLDEN[name]["vocabulary"])


def test_without_merges_pieces_only_decode(tmp_path):
    tokenizer = written(tmp_path, "pieces", merges=False)
    text, ids, back = GOLDEN["pieces"]["texts"][0]
    assert tokenizer.decode(ids) == back
    with pytest.raises(ValueError, match=r"expected merges.txt .* only decodes"):
        tokenizer.encode(text)


def test_what_cannot_be_spelt(tmp_path):
    ids = {"a": 0, "|": 1}
    (tmp_path / "vocab.json").write_text(json.dumps(ids))
    tokenizer = tokenizers.load_tokenizer(tmp_path)
    assert tokenizer.encode("a a") == [0, 1, 0] and tokenizer.decode([0, -100, 1, 0]) == "a a"
    with pytest.raises(ValueError, match="'ab' has characters that the vocabulary does not have"):
        tokenizer.encode("ab")
    with pytest.raises(ValueError, match="no token 'b' here"):
        tokenizer.id("b")
    with pytest.raises(ValueError, match="token id 7 is not in 0 to 1"):
        tokenizer.token(7)


@pytest.mark.parametrize(
    "vocabulary, settings, said",
    [
        ([], {}, "names and values in .*vocab.json, got a list"),
        ({"a": 0}, [], "names and values in .*tokenizer_config.json, got a list"),
        ({"a": 0}, {"tokenizer_class": None}, "expected tokenizer.json, or vocab.json with merges"),
        ({"a": 0}, {"tokenizer_class": 3}, "expected tokenizer_class in .* as text, got 3"),
        ({"a": 0, "|": "x"}, {}, "whole numbers from 0.* got '|': 'x'"),
        ({"a": 0, "|": [1]}, {}, "whole numbers from 0.* got '|': "),
        ({"a": 0, "|": 1}, {"pad_token": ["x"]}, r"expected pad_token in .* got \['x'\]"),
        ({"a": 0, "|": 1}, {"unk_token": {"content": 1}}, "expected unk_token in .* got 1"),
        ({"a": 0, "|": 1}, {"word_delimiter_token": 3}, "expected word_delimiter_token in"),
    ],
)
def test_files_of_another_kind_are_named(tmp_path, vocabulary, settings, said):
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(ValueError, match=said):
        tokenizers.load_tokenizer(tmp_path)


@pytest.mark.parametrize("listed", [[1], {"x": {"content": "b"}}, {"1": {}}, {"1": "b"}])
def test_added_tokens_of_another_kind_are_named(tmp_path, listed):
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"added_tokens_decoder": listed}))
    with pytest.raises(ValueError, match="expected added_tokens_decoder in .*tokenizer_config"):
        tokenizers.load_tokenizer(tmp_path)


def test_a_tokenizer_class_of_null_is_none_at_all(tmp_path):
    (tmp_path / "vocab.json").write_text('{"a": 0, "|": 1}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": null}')
    assert tokenizers.load_tokenizer(tmp_path).encode("a a") == [0, 1, 0]


def test_a_vocabulary_for_each_language_is_refused(tmp_path):
    (tmp_path / "vocab.json").write_text(json.dumps({"eng": {"a": 0}, "deu": {"a": 0}}))
    with pytest.raises(ValueError, match=r"each target_lang \(eng, deu"):
        tokenizers.load_tokenizer(tmp_path)
