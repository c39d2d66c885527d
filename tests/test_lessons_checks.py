"""check(): what a learner is told, for every kind of answer."""

import operator
import subprocess
import sys

import numpy as np
import pytest

from speechlib.lessons import (
    NotPassed,
    banking,
    check,
    checking,
    exercises,
    hint,
    progress,
    showing,
    solution,
)
from speechlib.lessons.banking import case
from speechlib.lessons.comparing import difference, is_array
from speechlib.lessons.explaining import explain


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    monkeypatch.setenv("SPEECHLIB_WORK", str(tmp_path))
    return tmp_path


def _right(scores):
    return scores / scores.sum(axis=-1, keepdims=True)


def told(fn, graded=False):
    result = check("99.1", fn, graded=graded)
    return result.status, repr(result)


def test_the_librarys_own_function_in_the_learners_place_gives_no_points():
    """`listened_at = part("00.1")` gives the reference as long as the learner's has not passed."""

    def mine(scores):
        return scores * 2

    assert told(mine)[0] != "passed"
    before = progress.record("99.1")

    def reference(scores):
        return _right(scores)

    reference.__module__ = "speechlib.lessons.bank.lesson_99"
    status, words = told(reference)
    assert status == "not_written" and "Run your own cell of exercise 99.1 first" in words
    with pytest.raises(NotPassed):
        told(reference, graded=True)
    assert progress.record("99.1") == before and before["source"] and not before["passed"]


def test_right_answer_passes_in_other_precision_and_style():
    assert told(_right)[0] == "passed"
    assert told(lambda scores: np.asfortranarray(_right(scores).astype("float64")))[0] == "passed"
    assert bool(check("99.1", _right)) is True


def test_known_mistake_is_named():
    status, text = told(lambda scores: scores / scores.sum(axis=0, keepdims=True))
    assert status == "named" and "columns* sum to one" in text
    assert check("99.1", lambda s: s / s.sum()).mistakes == ("everything",)


def test_mistake_is_not_named_when_it_differs_on_one_case():
    def nearly(scores):
        wrong = scores / scores.sum(axis=0, keepdims=True)
        return wrong if scores.shape != (4, 5) else wrong * 1.01

    assert told(nearly)[0] == "wrong"


def test_two_candidates_are_both_offered():
    checks = banking.Bank("90").exercise("90.1")
    checks.cases(lambda: [case(np.array([2.0])), case(np.array([0.0]))])
    checks.reference(lambda x: 3 * x)
    checks.mistake("square")(lambda x: x * x)
    checks.mistake("double")(lambda x: 2 * x)
    texts = {"square": "You squared it.", "double": "You doubled it."}
    exercise = exercises.Exercise("90.1", "t", "L1", 1, 1, "triple", mistakes=texts)
    result = checking.examine(exercise, checks, lambda x: x + x)
    assert result.status == "candidates" and set(result.mistakes) == {"square", "double"}
    assert "You squared it." in repr(result) and "You doubled it." in repr(result)


def test_stub_is_not_written_yet_and_points_at_the_hint():
    def normalise(scores):
        # YOUR CODE HERE
        raise NotImplementedError()

    status, text = told(normalise)
    assert status == "not_written" and "Not written yet" in text and 'hint("99.1")' in text


def test_shape_comes_before_values_and_says_turned():
    status, text = told(lambda scores: _right(scores).T)
    assert status == "wrong" and "(query, key)" in text and "axes stand in another order" in text


def test_first_difference_in_words_of_the_axes():
    def off(scores):
        out = _right(scores).copy()
        out[-1, 1] += 0.25
        return out

    status, text = told(off)
    assert "at query 1, key 1: yours is 0.75, expected was 0.5" in text
    assert "two queries, two keys" in text  # the smallest failing case, made for reading


@pytest.mark.parametrize(
    "fn, words",
    [
        (lambda s: None, "None came back"),
        (lambda s: _right(s).tolist(), "a list (of 2) came back"),
        (lambda s: "half", "a text (str) came back"),
        (lambda s: _right(s) > 0.5, "type bool"),
        (lambda s: np.full_like(s, np.nan), "NaN"),
        (lambda s: (_right(s), s), "a tuple (of 2 values) came back"),
        (lambda s: np.array([object()]), "came back"),
    ],
)
def test_general_mistakes_are_said_in_words(fn, words):
    status, text = told(fn)
    assert status == "wrong" and words in text


def test_tensor_instead_of_array_is_said():
    torch = pytest.importorskip("torch")
    assert "PyTorch tensor came back" in told(lambda s: torch.tensor(_right(s)))[1]


def test_changed_input_is_said_even_when_the_answer_is_right():
    def normalise(scores):
        scores /= scores.sum(axis=-1, keepdims=True)
        return scores

    status, text = told(normalise)
    assert status == "changed" and "right on all cases" in text


def test_error_points_to_the_learners_line():
    def normalise(scores):
        total = scores.sum(axis=-1)
        return np.matmul(scores, total[:, None, None] @ total)  # fails inside NumPy

    status, text = told(normalise)
    assert status == "error" and "return np.matmul(scores" in text and "site-packages" not in text
    line = normalise.__code__.co_firstlineno + 2
    assert f"Line {line} of your cell" in text


def test_wrong_number_of_arguments_says_what_the_check_gives():
    status, text = told(lambda: 1)
    assert status == "error" and "gets these arguments: scores" in text


def test_endless_recursion_and_exit_are_caught():
    def normalise(scores):
        return normalise(scores)

    assert "never comes to an end" in told(normalise)[1]
    assert told(lambda s: sys.exit(3))[0] == "error"


def test_no_function_is_said():
    assert "needs the function itself" in told(np.zeros(3))[1]
    with pytest.raises(ValueError, match="99.1"):
        check("99.7", _right)
    with pytest.raises(ValueError, match="There is no lesson '77'"):
        check("77.1", _right)


def test_prints_are_shown_with_the_case_and_do_not_flood(capsys):
    def normalise(scores):
        print("sum", scores.sum())
        return scores

    text = told(normalise)[1]
    assert "Your function printed" in text and "sum 8.0" in text
    assert capsys.readouterr().out == ""


def test_a_check_draws_nothing_from_the_learners_random_stream():
    np.random.seed(5)
    first = np.random.rand()
    np.random.seed(5)
    check("99.1", lambda s: _right(s) + np.random.rand() * 0)
    assert np.random.rand() == first


def test_warnings_do_not_reach_stderr(capfd):
    check("99.1", lambda s: s / 0.0)
    assert capfd.readouterr().err == ""  # stderr in a test cell would cost the points in nbgrader


def test_same_words_each_time_and_no_paths(work):
    def normalise(scores):
        return scores @ np.ones((7, 7))

    first, second = repr(check("99.1", normalise)), repr(check("99.1", normalise))
    assert first == second and "0x" not in first and str(work) not in first


def test_graded_check_raises_calmly_and_gives_points_when_passed(capsys):
    with pytest.raises(NotPassed, match="no points yet") as caught:
        check("99.1", lambda s: s, graded=True)
    assert len(caught.value._render_traceback_()) == 1
    assert check("99.1", _right, graded=True)
    assert "1 of 1 points" in capsys.readouterr().out


def test_points_stay_when_another_version_does_not_pass():
    assert check("99.1", _right, graded=True)
    with pytest.raises(NotPassed, match="this version does not pass") as caught:
        check("99.1", lambda s: s, graded=True)
    assert "no points yet" not in str(caught.value) and "99.1" in str(caught.value)
    assert progress.record("99.1")["points"]


def test_html_is_escaped_and_themed():
    def normalise(scores):
        raise ValueError("<script>alert(1)</script>")

    html = check("99.1", normalise)._repr_html_()
    assert "<script>" not in html and "&lt;script&gt;" in html
    assert "--jp-border-color1" in html and "color:inherit" in html
    assert "aria-label" in html and "Not yet" in html


def test_hints_one_at_a_time_and_solution_only_after_an_attempt():
    def stub(scores):
        raise NotImplementedError()

    check("99.1", stub)
    assert "Try it first" in repr(solution("99.1"))
    assert "Hint 1 of 2" in repr(hint("99.1"))
    assert "Hint 2 of 2" in repr(hint("99.1")) and "keepdims" in repr(hint("99.1"))

    def attempt(scores):
        return scores

    check("99.1", attempt)
    assert "Yours (as last checked)" in repr(solution("99.1"))
    assert "return scores" in repr(solution("99.1"))


# --- which mistake it is, in the lessons' own exercises -------------------------------------------


@pytest.mark.parametrize(("first", "name"), [(1, "counts_padding"), (0, "counts_padding_early")])
def test_an_answer_that_is_too_narrow_is_repeated_before_it_is_named(first, name):
    def token_positions(tokens, padding_index, past_length=0):
        places = np.arange(past_length, past_length + tokens.shape[1])[None, :]
        return places + padding_index + first

    result = check("03.6", token_positions)
    assert (result.status, result.mistakes) == ("named", (name,))
    assert "The shape is (1, 3), expected was (2, 3)" in repr(result)


def test_the_plain_numbers_of_the_places_are_named_in_any_shape():
    def token_positions(tokens, padding_index, past_length=0):
        return np.arange(past_length, past_length + tokens.shape[1])

    assert check("03.6", token_positions).mistakes == ("numbers_of_places",)


def test_a_mistake_is_named_where_the_function_ran():
    def combine(query_key, key):
        return query_key[None, None] & key[:, None, :, None]  # stops where it is not square

    result = check("05.3", combine)
    assert (result.status, result.mistakes) == ("error", ("query_side",))
    assert "Where your function did run" in repr(result) and "lined up" in repr(result)


def test_no_mistake_is_named_by_errors_when_all_that_ran_is_right():
    pytest.importorskip("torch")
    from speechlib.lessons.bank import lesson_06 as bank

    def mixed(layer, x, keys_values, mask):
        key, value = keys_values
        query = bank.split_heads(layer.query(x), layer.heads)
        return bank.attention_weights(query, key, mask) @ value

    def viewed(layer, x, keys_values, mask=None):  # right with one head, like the next one
        return layer.output(mixed(layer, x, keys_values, mask).transpose(1, 2).view(*x.shape))

    def one_head(layer, x, keys_values, mask=None):
        return layer.output(mixed(layer, x, keys_values, mask).mean(1))

    assert (check("06.6", viewed).status, check("06.6", viewed).mistakes) == ("error", ())
    assert check("06.6", one_head).mistakes == ("one_head_left",)


@pytest.mark.parametrize(
    ("counted", "places", "name"),
    [
        ("size", "real - length + 1", "padding_counted"),
        ("real", "size - length + 1", "starts_in_padding"),
        ("real", "size - length", "starts_in_padding_one_missing"),
        ("size", "size - length + 1", "padding_is_real"),
        ("size", "size - length", "padding_is_real_one_missing"),
    ],
)
def test_spans_that_take_padding_for_sound_are_named(counted, places, name):
    def hide_spans(size, real, probability, length, min_spans, rng):
        names = {"size": size, "real": real, "length": length}
        wanted = probability * names[counted] / length
        count = max(int(wanted + rng.random()), min_spans)
        hidden = np.zeros(size, dtype=bool)
        for start in rng.permutation(max(eval(places, names), 0))[:count]:
            hidden[start : start + length] = True
        return hidden

    assert check("05.5", hide_spans).mistakes == (name,)


# --- comparing ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "got, expected, kind",
    [
        (1, 1.0, None),
        (1.0, 1, "dtype"),
        (np.float32(0.1), 0.1, None),
        (1.5, 1, "dtype"),
        (True, np.array(True), None),
        (1, np.array(True), "dtype"),
        (np.array([0, 1]), np.array([False, True]), "dtype"),
        (np.array([0.0, 1.0]), np.array([0, 1]), "dtype"),
        ((1, 2), (1, 2, 3), "shape"),
        ([1, 2], (1, 2), None),
        (np.array([1, 2]), (1, 2), None),
        ({"a": 1}, {"a": 1, "b": 2}, "shape"),
        ({"a": 1, "b": 3}, {"a": 1, "b": 2}, "value"),
        (None, None, None),
        (3, None, "value"),
        ("three", "three", None),
        ("four", "three", "value"),
        (np.array([np.nan, 1]), np.array([np.nan, 1]), None),
        (np.array([np.inf]), np.array([np.inf]), None),
        (np.zeros((0, 3)), np.zeros((0, 3)), None),
        (np.zeros((2, 1)), np.zeros((1, 2)), "shape"),
        (1e-9, 0.0, None),
        (1.001, 1.0, "value"),
    ],
)
def test_difference(got, expected, kind):
    found = difference(got, expected)
    assert (found and found.kind) == kind


def test_difference_names_the_part():
    found = difference((np.zeros(2), np.ones(2)), (np.zeros(2), np.zeros(2)), axes=(("a",), ("b",)))
    assert "b 0 in part 2 of the answer" in found.text
    assert "in the part “n”" in difference({"n": 2}, {"n": 1}).text


def test_differences_read_well():
    assert difference((2.0, 1), (1.0, 1)).text.startswith("in part 1 of the answer: yours is 2")
    assert difference(np.ones(2), 1.0).text == (
        "The shape is (2,), expected was () = a single number."
    )
    for expected in ((1, 2), {"a": 1}, np.ones(2), 1.0):
        assert "`return` is missing" in difference(None, expected).text
    assert showing.text((1.0, 6.123e-17, 0.123456789)) == "(1, 0, 0.123457)"
    assert showing.text([True, None, "a", (2,)]) == "[True, None, 'a', (2,)]"
    assert showing.text(1e-9) == "1e-09"


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (lambda: np.zeros((2, 4))[np.array([2])], "no entry 2 here: this axis has 2, numbered 0"),
        (lambda: np.zeros((0, 4))[1], "this axis is empty"),
        (lambda: np.arange(3) / np.arange(2), "lined up from the right"),
        (lambda: np.zeros((3, 2)).__setitem__(slice(0, 3, 2), np.ones((3, 2))), "lined up"),
        (lambda: np.ones((2, 3)) @ np.ones((2, 3)), "last axis of a"),
        (lambda: np.ones(2) and np.ones(2), "whether there is a mask at all"),
        (lambda: np.ones(4)[0.5:], "`//`"),
        (lambda: np.zeros((4 / 2, 1)), "`//`"),
        (lambda: np.ones(4)[: int(1.5) + 0.5], "put the whole sum inside"),
        (lambda: argmax([1]), "np.argmax"),  # noqa: F821
        (lambda: np.argmx([1]), "There is `argmax`"),
        (lambda: np.ones(2).masked_fill(0), "a NumPy array, which does not have it"),
        (lambda: nobody_knows_this, None),  # noqa: F821
        (lambda: [][0], None),
        (lambda: int("x"), None),
    ],
)
def test_errors_of_arrays_are_said_plainly(act, words):
    with pytest.raises((IndexError, ValueError, TypeError, NameError, AttributeError)) as caught:
        act()
    found = explain(caught.value)
    assert found is None if words is None else words in found


def test_torch_errors_are_said_plainly():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.ones(3) + torch.ones(2)
    assert "lined up from the right" in explain(caught.value)
    with pytest.raises(IndexError) as caught:
        torch.ones(3)[3]
    assert "no entry 3" in explain(caught.value)
    x = torch.ones(2, 3)
    for act, words in {
        lambda: x @ x: "last axis of a",
        lambda: x[None] @ x[None]: "last axis of a",
        lambda: bool(x > 0): "whether there is a mask at all",
        lambda: torch.zeros(6 / 2): "`//`",
        lambda: x.reshape(4, 2): "keeps all numbers",
        lambda: x[None, None].transpose(0, 2, 1, 3): "`.permute(",
        lambda: x.transpose((1, 0)): "`.permute(",
        lambda: x.masked_fill(np.ones((2, 3), bool), 0.0): "`torch.arange(…)`",
        lambda: torch.nn.Embedding(2, 3)(range(2)): "`torch.arange(…)`",
        lambda: torch.nn.Embedding(2, 3)(x): "`x @ table.weight.T`",
        lambda: x + (x, x): "wrong place",
    }.items():
        with pytest.raises((RuntimeError, TypeError)) as caught:
            act()
        assert words in explain(caught.value)


def test_turning_all_axes_is_said_where_the_product_then_fails():
    torch = pytest.importorskip("torch")
    four, flat, line = torch.ones(1, 2, 3, 4), torch.ones(2, 3), "query @ key.T"
    for function, query, key, source, words in (
        (operator.matmul, four, torch.ones(4, 5, 2, 1), line, "turns *all* axes round"),
        (operator.matmul, torch.ones(2, 3, 4, 4), torch.ones(4, 4, 3, 2), line, "turns *all* axes"),
        (operator.matmul, np.ones((2, 3, 4)), np.ones((4, 3, 2)), line, "turns *all* of them"),
        (operator.matmul, np.ones((2, 3)), np.ones((2, 3)), line, "last axis of a"),
        (operator.matmul, four, four, "query @ key", "last axis of a"),
        (operator.matmul, four, four, "query @ key  # not .T", "last axis of a"),
        (operator.matmul, flat, flat, line, "last axis of a"),
        (operator.add, flat, torch.ones(5), f"{line} + bias", "lined up from the right"),
        (operator.add, four, torch.ones(5), "key.T + bias", "lined up from the right"),
    ):

        def learner(query=query, key=key, function=function):
            return function(query, key)

        with pytest.raises((RuntimeError, ValueError)) as caught:
            learner()
        # this test's own frame, which has `four`, is not the learner's
        error = caught.value.with_traceback(caught.value.__traceback__.tb_next)
        assert words in explain(error, source, f"def f(query, key):\n    {source}\n")


def test_view_after_exchanged_axes_is_said_plainly():
    torch = pytest.importorskip("torch")
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2, 3, 4).transpose(1, 2).view(2, 12)
    assert "still lie in the old order" in explain(caught.value)


def test_numpy_imported_inside_the_function_is_no_array():
    torch = pytest.importorskip("torch")

    def mixed(query, keys, values):
        import numpy as np

        scores = keys.T @ query / np.sqrt(len(query))
        return scores @ values

    assert check("06.2", mixed).status == "error"
    for value in (np, np.ndarray, torch, torch.Tensor, np.float32):
        assert not is_array(value)
        assert told(lambda s, value=value: value)[0] == "wrong"


def test_the_learners_source_reaches_the_explanation():
    pytest.importorskip("torch")

    def attention_weights(query, key, mask=None):
        turned = key.T
        return (query @ turned).softmax(dim=-1)

    assert "turns *all* axes round" in repr(check("06.3", attention_weights))


def test_right_values_in_another_kind_are_said_with_the_way_over():
    torch = pytest.importorskip("torch")
    assert "`np.array(…)`" in told(lambda s: _right(s).tolist())[1]
    assert "`np.array(…)`" in told(lambda s: torch.tensor(_right(s)))[1]
    assert "`np.array(…)`" not in told(lambda s: s.tolist())[1]
    assert "`torch.tensor(…)`" in difference([1.0, 2.0], torch.tensor([1.0, 2.0])).text
    assert "expected was a number" in difference([0.5], np.float64(0.5)).text
    assert showing.text([np.float64(0)]) == "[0]"  # a list of one number is no number
    rows = [[place < length for place in range(2)] for length in np.array([1, 2])]
    assert showing.text(rows) == "[[True, False], [True, True]]"  # their numbers are NumPy's
    pair = torch.zeros(2, 1), np.zeros(3)
    assert showing.text([pair, pair]) == "[0] (tensor (2, 1), (3,))\n[1] (tensor (2, 1), (3,))"


def test_torch_answers():
    torch = pytest.importorskip("torch")
    assert difference(torch.ones(2, requires_grad=True), torch.ones(2)) is None
    half = difference(torch.ones(2, dtype=torch.bfloat16), torch.ones(2))
    assert half.kind == "dtype" and "is bfloat16, expected was float32" in half.text
    assert difference(np.ones(2), torch.ones(2)).kind == "type"


def test_a_tensor_in_double_precision_does_not_pass_and_is_told():
    torch = pytest.importorskip("torch")

    def attention_weights(query, key, mask=None):
        scores = (query @ key.transpose(-1, -2)).double() / query.shape[-1] ** 0.5
        if mask is not None:
            scores = scores.masked_fill(~mask, torch.finfo(torch.float32).min)
        return scores.softmax(dim=-1)

    result = check("06.3", attention_weights)
    assert result.status == "wrong"
    assert "float64, expected was float32" in repr(result) and "`.double()`" in repr(result)
    assert check("06.3", lambda *args: attention_weights(*args).float()).status == "passed"

    def unscaled(query, key, mask=None):
        return attention_weights(query * query.shape[-1] ** 0.5, key, mask)

    assert check("06.3", unscaled).mistakes == ("no_scale",)  # named all the same

    reference = exercises.checks("06.7").correct  # a measurement, which goes into no model
    assert check("06.7", lambda *args: reference(*args).double()).status == "passed"
    pair = torch.ones(2).double(), torch.ones(2)
    assert difference(pair, (torch.ones(2), torch.zeros(2))).kind == "value"
    assert difference(pair, (torch.ones(2), torch.ones(2))).precision
    assert difference({"a": pair[0]}, {"a": torch.ones(2)}).precision


def test_unusual_tensors_are_compared_or_said():
    torch = pytest.importorskip("torch")
    turned = torch.tensor([1 + 2j, 3j]).conj()
    assert difference(turned, torch.tensor([1 - 2j, -3j])) is None
    assert difference(turned.imag, torch.tensor([-2.0, -3.0])) is None
    assert difference(torch.eye(2).to_sparse(), torch.eye(2)) is None
    empty = torch.empty(2, device="meta")
    assert difference(empty, torch.ones(2)).kind == "type"
    assert difference(empty, (1.0, 2.0)).kind == "type"
    assert showing.text([empty]) == "(list)"
    for value in (turned, turned.imag, torch.eye(2).to_sparse(), empty):
        assert "tensor" in showing.text(value).lower()
        assert told(lambda s, value=value: value)[0] == "wrong"


def test_a_named_tuple_of_numbers_is_shown():
    assert showing.text(np.linalg.slogdet(np.eye(2))) == "(1, 0)"
    assert told(lambda s: np.linalg.slogdet(np.eye(2)))[0] == "wrong"


def test_framework_needs_no_torch():
    code = "import sys, speechlib.lessons as l; l.check; l.use; l.report; l.hint\n"
    code += "assert not {'torch', 'nbformat', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
