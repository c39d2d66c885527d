"""The checks of lesson 03, positions: cases, references, mistakes that learners make.

Texts: content/03_positions.toml. Notebook: 03_positions
"""

import math

import numpy as np

from speechlib import position_embeddings
from speechlib.lessons.banking import Bank, case

bank = Bank("03")

# -- 03.1 a clock hand as two numbers

hand = bank.exercise("03.1")


@hand.cases
def hand_cases():
    yield case(0, 4, note="straight up, at the start")
    yield case(1, 4, note="a quarter of a turn: the hand points right")
    yield case(3, 4, note="three quarters of a turn")
    yield case(1, 8)
    yield case(5, 12)
    rng = np.random.default_rng(31)
    for _ in range(5):
        yield case(int(rng.integers(1, 300)), round(float(rng.uniform(3, 60)), 2))


@hand.reference
def clock_hand(position, turn):
    angle = 2 * math.pi * position / turn
    return math.sin(angle), math.cos(angle)


@hand.mistake("swapped")
def hand_swapped(position, turn):
    sine, cosine = clock_hand(position, turn)
    return cosine, sine


@hand.mistake("degrees")
def hand_degrees(position, turn):
    angle = 360 * position / turn
    return math.sin(angle), math.cos(angle)


@hand.mistake("no_circle")
def hand_no_circle(position, turn):
    return math.sin(position / turn), math.cos(position / turn)


@hand.mistake("half_circle")
def hand_half_circle(position, turn):
    angle = math.pi * position / turn
    return math.sin(angle), math.cos(angle)


@hand.mistake("from_one")
def hand_from_one(position, turn):
    return clock_hand(position + 1, turn)


@hand.mistake("multiplied")
def hand_multiplied(position, turn):
    angle = 2 * math.pi * position * turn
    return math.sin(angle), math.cos(angle)


@hand.mistake("anticlockwise")
def hand_anticlockwise(position, turn):
    return clock_hand(-position, turn)


@hand.mistake("product")
def hand_product(position, turn):
    return math.sin(position * turn), math.cos(position * turn)


@hand.mistake("turn_minus_one")
def hand_turn_minus_one(position, turn):
    return clock_hand(position, turn - 1)


@hand.variant("array")
def hand_array(position, turn):
    angle = np.float32(position) * np.float32(2 * np.pi / turn)
    return np.array([np.sin(angle), np.cos(angle)])


@hand.variant("complex number")
def hand_complex(position, turn):
    tip = np.exp(2j * np.pi * position / turn)
    return [float(tip.imag), float(tip.real)]


# -- 03.2 one number of the paper's table

value = bank.exercise("03.2")


@value.cases
def value_cases():
    for column in range(4):
        yield case(1, column, 4, note=f"row 1 of the table above, column {column}")
    yield case(0, 5, 8, note="row 0: every hand at twelve")
    yield case(2, 2, 4)
    rng = np.random.default_rng(32)
    for _ in range(10):
        width = int(rng.choice([6, 8, 16, 128]))
        yield case(int(rng.integers(1, 300)), int(rng.integers(0, width)), width)


@value.reference
def paper_value(position, column, width):
    hand = column // 2
    angle = position / 10_000 ** (2 * hand / width)
    return math.sin(angle) if column % 2 == 0 else math.cos(angle)


def _value(position, column, width, exponent, wave=None):
    angle = position / 10_000**exponent
    wave = column % 2 if wave is None else wave
    return math.cos(angle) if wave else math.sin(angle)


@value.mistake("swapped")
def value_swapped(position, column, width):
    return _value(position, column, width, 2 * (column // 2) / width, wave=column % 2 == 0)


@value.mistake("own_speed")
def value_own_speed(position, column, width):
    return _value(position, column, width, column / width)


@value.mistake("column_twice")
def value_column_twice(position, column, width):
    return _value(position, column, width, 2 * column / width)


@value.mistake("no_two")
def value_no_two(position, column, width):
    return _value(position, column, width, (column // 2) / width)


@value.mistake("multiplied")
def value_multiplied(position, column, width):
    return _value(position, column, width, -2 * (column // 2) / width)


@value.mistake("whole_division")
def value_whole_division(position, column, width):
    return _value(position, column, width, 2 * (column // 2) // width)


@value.mistake("halves")
def value_halves(position, column, width):
    half = width // 2
    return _value(position, column, width, 2 * (column % half) / width, wave=column >= half)


@value.mistake("last_step")
def value_last_step(position, column, width):
    return _value(position, column, width, (column // 2) / max(width // 2 - 1, 1))


@value.mistake("from_one")
def value_from_one(position, column, width):
    return paper_value(position + 1, column, width)


@value.mistake("degrees")
def value_degrees(position, column, width):
    angle = math.radians(position / 10_000 ** (2 * (column // 2) / width))
    return math.sin(angle) if column % 2 == 0 else math.cos(angle)


@value.mistake("thousand")
def value_thousand(position, column, width):
    angle = position / 1_000 ** (2 * (column // 2) / width)
    return math.sin(angle) if column % 2 == 0 else math.cos(angle)


@value.mistake("sines_only")
def value_sines_only(position, column, width):
    return _value(position, column, width, 2 * (column // 2) / width, wave=0)


@value.mistake("whole_turns")
def value_whole_turns(position, column, width):
    return paper_value(2 * math.pi * position, column, width)


@value.mistake("no_brackets")
def value_no_brackets(position, column, width):
    angle = position / 10_000**2 * (column // 2) / width
    return math.cos(angle) if column % 2 else math.sin(angle)


@value.mistake("halves_of_waves")
def value_halves_of_waves(position, column, width):
    return _value(position, column, width, 2 * (column // 2) / width, wave=column >= width / 2)


@value.variant("by logarithm")
def value_by_logarithm(position, column, width):
    speed = math.exp(-(column - column % 2) / width * math.log(10_000))
    return np.sin(position * speed + (column % 2) * np.pi / 2)


@value.variant("float32")
def value_float32(position, column, width):
    speed = np.float32(10_000) ** np.float32(-2 * (column // 2) / width)
    return (np.sin, np.cos)[column % 2](np.float32(position) * speed)


# -- 03.3 the whole table at once

table = bank.exercise("03.3", axes=("position", "column"), atol=1e-4)


@table.cases
def table_cases():
    yield case(3, 4, note="the table above")
    yield case(1, 6, note="a single position")
    yield case(5, 8)
    yield case(7, 2, note="a single hand")
    yield case(60, 32)
    yield case(300, 128, note="the size that whisper-digits uses")


@table.reference
def paper_table(length, width):
    hands = np.arange(width // 2)
    speeds = 10_000 ** (-2 * hands / width)
    angles = np.arange(length)[:, None] * speeds[None, :]
    result = np.zeros((length, width))
    result[:, 0::2] = np.sin(angles)
    result[:, 1::2] = np.cos(angles)
    return result


def _angles(length, width, exponents, base=10_000.0, first=0):
    return np.arange(first, first + length)[:, None] * base ** -np.asarray(exponents)


def _woven(angles, first=np.sin, second=np.cos):
    return np.stack([first(angles), second(angles)], axis=-1).reshape(len(angles), -1)


@table.mistake("swapped")
def table_swapped(length, width):
    return _woven(_angles(length, width, np.arange(0, width, 2) / width), np.cos, np.sin)


@table.mistake("whole_numbers")
def table_whole_numbers(length, width):
    return paper_table(length, width).astype(int)


@table.mistake("halves")
def table_halves(length, width):
    angles = _angles(length, width, np.arange(0, width, 2) / width)
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


@table.mistake("own_speed")
def table_own_speed(length, width):
    angles = _angles(length, width, np.arange(width) / width)
    return np.where(np.arange(width) % 2 == 0, np.sin(angles), np.cos(angles))


@table.mistake("no_two")
def table_no_two(length, width):
    return _woven(_angles(length, width, np.arange(width // 2) / width))


@table.mistake("two_twice")
def table_two_twice(length, width):
    return _woven(_angles(length, width, 2 * np.arange(0, width, 2) / width))


@table.mistake("last_step")
def table_last_step(length, width):
    hands = width // 2
    return _woven(_angles(length, width, np.arange(hands) / max(hands - 1, 1)))


@table.mistake("log10")
def table_log10(length, width):
    return _woven(_angles(length, width, np.arange(0, width, 2) / width, base=math.exp(4)))


@table.mistake("from_one")
def table_from_one(length, width):
    return _woven(_angles(length, width, np.arange(0, width, 2) / width, first=1))


@table.mistake("multiplied")
def table_multiplied(length, width):
    return _woven(_angles(length, width, -np.arange(0, width, 2) / width))


@table.mistake("sines_only")
def table_sines_only(length, width):
    angles = _angles(length, width, np.arange(0, width, 2) / width)
    return _woven(angles, np.sin, np.zeros_like)


@table.mistake("cosines_only")
def table_cosines_only(length, width):
    angles = _angles(length, width, np.arange(0, width, 2) / width)
    return _woven(angles, np.zeros_like, np.cos)


@table.mistake("whole_turns")
def table_whole_turns(length, width):
    return _woven(2 * np.pi * _angles(length, width, np.arange(0, width, 2) / width))


@table.mistake("whole_division")
def table_whole_division(length, width):
    return _woven(_angles(length, width, np.arange(0, width, 2) // width))


@table.mistake("column_twice")
def table_column_twice(length, width):
    angles = _angles(length, width, 2 * np.arange(width) / width)
    return np.where(np.arange(width) % 2 == 0, np.sin(angles), np.cos(angles))


@table.variant("two loops")
def table_two_loops(length, width):
    rows = [[paper_value(p, c, width) for c in range(width)] for p in range(length)]
    return np.array(rows)


@table.variant("outer product, float32, not contiguous")
def table_outer(length, width):
    speeds = np.exp(np.arange(0, width, 2) * (-np.log(10_000.0) / width)).astype(np.float32)
    angles = np.outer(speeds, np.arange(length, dtype=np.float32))
    result = np.empty((width, length), dtype=np.float32)
    result[0::2], result[1::2] = np.sin(angles), np.cos(angles)
    return result.T


table.equivalent("width // 2 -> width / 2", "an even width halves to the same whole number")


@table.adapt
def table_as_library(fn):
    return lambda length, width: np.asarray(fn(length, width), dtype=np.float32)


# -- 03.4 the dot product knows only the distance

product = bank.exercise("03.4", rtol=1e-4, atol=1e-4)


@product.cases
def product_cases():
    yield case(2, 4, note="cos 2 + cos 0.02, as worked out above")
    yield case(0, 4, note="a row with itself")
    yield case(1, 2, note="a single hand")
    yield case(-3, 6, note="the other row comes before")
    for distance, width in ((1, 8), (7, 16), (40, 128), (250, 128), (-90, 32), (3000, 6)):
        yield case(distance, width)


@product.reference
def similarity(distance, width):
    speeds = 10_000 ** (-2 * np.arange(width // 2) / width)
    return np.cos(distance * speeds).sum()


def _speeds(width):
    return 10_000 ** (-np.arange(0, width, 2) / width)


@product.mistake("sines")
def product_sines(distance, width):
    return np.sin(distance * _speeds(width)).sum()


@product.mistake("twice")
def product_twice(distance, width):
    return 2 * similarity(distance, width)


@product.mistake("every_column")
def product_every_column(distance, width):
    return np.cos(distance * 10_000 ** (-np.arange(width) / width)).sum()


@product.mistake("mean")
def product_mean(distance, width):
    return np.cos(distance * _speeds(width)).mean()


@product.mistake("sum_inside")
def product_sum_inside(distance, width):
    return np.cos(distance * _speeds(width).sum())


@product.mistake("no_speeds")
def product_no_speeds(distance, width):
    return width / 2 * np.cos(distance)


@product.mistake("last_step")
def product_last_step(distance, width):
    hands = width // 2
    return np.cos(distance * 10_000 ** (-np.arange(hands) / max(hands - 1, 1))).sum()


@product.mistake("sine_and_cosine")
def product_sine_and_cosine(distance, width):
    angles = distance * _speeds(width)
    return (np.sin(angles) + np.cos(angles)).sum()


@product.mistake("every_column_twice")
def product_every_column_twice(distance, width):
    return np.cos(distance * 10_000 ** (-2 * np.arange(width) / width)).sum()


@product.mistake("no_two")
def product_no_two(distance, width):
    return np.cos(distance * 10_000 ** (-np.arange(width // 2) / width)).sum()


@product.mistake("multiplied")
def product_multiplied(distance, width):
    return np.cos(distance / _speeds(width)).sum()


@product.mistake("not_summed")
def product_not_summed(distance, width):
    return np.cos(distance * _speeds(width))


@product.variant("loop")
def product_loop(distance, width):
    total = 0.0
    for i in range(width // 2):
        total += math.cos(distance / 10_000 ** (2 * i / width))
    return total


@product.variant("from two rows")
def product_from_rows(distance, width):
    rows = paper_table(abs(distance) + 4, width).astype(np.float32)
    return rows[3] @ rows[3 + abs(distance)]


product.equivalent("width // 2 -> width / 2", "an even width halves to the same whole number")

# -- 03.5 detective: rebuild the table of a checkpoint

stored = bank.exercise("03.5", axes=("position", "column"), atol=1e-4)


@stored.cases
def stored_cases():
    yield case(4, 4, note="small enough to work out by hand")
    yield case(6, 8)
    yield case(60, 16)
    yield case(300, 128, note="the table in whisper-digits")


@stored.reference
def checkpoint_table(length, width):
    hands = width // 2
    speeds = 10_000 ** (-np.arange(hands) / (hands - 1))
    angles = np.arange(length)[:, None] * speeds[None, :]
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


@stored.mistake("paper")
def stored_paper(length, width):
    return paper_table(length, width)


@stored.mistake("paper_step")
def stored_paper_step(length, width):
    return table_halves(length, width)


@stored.mistake("paper_order")
def stored_paper_order(length, width):
    return table_last_step(length, width)


@stored.mistake("padding_row")
def stored_padding_row(length, width):
    return position_embeddings.fairseq_sinusoids(length, width, padding_index=1)


@stored.mistake("padding_row_first")
def stored_padding_row_first(length, width):
    return position_embeddings.fairseq_sinusoids(length, width, padding_index=0)


@stored.mistake("from_two")
def stored_from_two(length, width):
    return checkpoint_table(length + 2, width)[2:]


@stored.mistake("from_one")
def stored_from_one(length, width):
    return checkpoint_table(length + 1, width)[1:]


@stored.mistake("cosines_first")
def stored_cosines_first(length, width):
    return np.roll(checkpoint_table(length, width), width // 2, axis=1)


@stored.mistake("width_minus_one")
def stored_width_minus_one(length, width):
    angles = _angles(length, width, np.arange(width // 2) / (width - 1))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


@stored.mistake("log10")
def stored_log10(length, width):
    hands = width // 2
    angles = _angles(length, width, np.arange(hands) / (hands - 1), base=math.exp(4))
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=1)


@stored.mistake("copied")
def stored_copied(length, width):
    rounded = checkpoint_table(300, 128).astype(np.float16)  # as the file of whisper-digits
    return rounded.astype(np.float32)[:length, :width]


@stored.variant("geometric series, float32")
def stored_geometric(length, width):
    speeds = np.geomspace(1, 1e-4, width // 2, dtype=np.float64)
    angles = np.outer(np.arange(length), speeds)
    return np.hstack([np.sin(angles), np.sin(angles + np.pi / 2)]).astype(np.float32)


@stored.variant("fortran order")
def stored_fortran(length, width):
    return np.asfortranarray(checkpoint_table(length, width))


stored.equivalent("width // 2 -> width / 2", "an even width halves to the same whole number")


@stored.adapt
def stored_as_library(fn):
    return lambda length, width: np.asarray(fn(length, width), dtype=np.float32)


# -- 03.6 positions of padded tokens

places = bank.exercise("03.6", axes=("batch", "token"))


@places.cases
def places_cases():
    yield case(np.array([[5, 6, 7]]), 1, note="no padding")
    yield case(np.array([[5, 6, 1, 1]]), 1, note="padding on the right")
    yield case(np.array([[1, 1, 5, 6]]), 1, note="padding on the left")
    yield case(np.array([[5, 6, 7], [8, 1, 1]]), 1)
    yield case(np.array([[9], [1]]), 1, 4, note="one step later: four tokens went before")
    yield case(np.array([[7, 8, 0], [0, 7, 8]]), 0, note="here padding is token 0")
    yield case(np.array([[3, 2, 2, 3], [2, 2, 2, 3]]), 3, 2)
    rng = np.random.default_rng(36)
    tokens = rng.integers(0, 9, size=(4, 7))
    tokens[0, 4:], tokens[1, :3] = 3, 3
    yield case(tokens, 3, note="random")


@places.reference
def token_positions(tokens, padding_index, past_length=0):
    real = (tokens != padding_index).astype(int)
    counted = np.cumsum(real, axis=1) + past_length
    return counted * real + padding_index


def _real(tokens, padding_index):
    return (np.asarray(tokens) != padding_index).astype(int)


@places.mistake("counts_padding")
def places_counts_padding(tokens, padding_index, past_length=0):
    count = np.arange(1, tokens.shape[1] + 1) + past_length
    return np.broadcast_to(count, tokens.shape) + padding_index


@places.mistake("counts_through_padding")
def places_counts_through_padding(tokens, padding_index, past_length=0):
    count = places_counts_padding(tokens, padding_index, past_length)
    return np.where(tokens == padding_index, padding_index, count)


@places.mistake("counts_padding_early")
def places_counts_padding_early(tokens, padding_index, past_length=0):
    return places_counts_padding(tokens, padding_index, past_length) - 1


@places.mistake("counts_padding_late")
def places_counts_padding_late(tokens, padding_index, past_length=0):
    return places_counts_padding(tokens, padding_index, past_length) + 1


@places.mistake("numbers_of_places")
def places_numbers_of_places(tokens, padding_index, past_length=0):
    return np.broadcast_to(np.arange(tokens.shape[1]) + past_length, tokens.shape)


@places.mistake("through_padding_early")
def places_through_padding_early(tokens, padding_index, past_length=0):
    count = places_counts_padding_early(tokens, padding_index, past_length)
    return np.where(tokens == padding_index, padding_index, count)


@places.mistake("from_zero")
def places_from_zero(tokens, padding_index, past_length=0):
    real = _real(tokens, padding_index)
    return np.where(real == 1, np.cumsum(real, axis=1) - 1 + past_length, padding_index)


@places.mistake("one_early")
def places_one_early(tokens, padding_index, past_length=0):
    real = _real(tokens, padding_index)
    return (np.cumsum(real, axis=1) - 1 + past_length) * real + padding_index


@places.mistake("padding_moves_on")
def places_padding_moves_on(tokens, padding_index, past_length=0):
    return np.cumsum(_real(tokens, padding_index), axis=1) + past_length + padding_index


@places.mistake("past_on_padding")
def places_past_on_padding(tokens, padding_index, past_length=0):
    real = _real(tokens, padding_index)
    return np.cumsum(real, axis=1) * real + past_length + padding_index


@places.mistake("no_past")
def places_no_past(tokens, padding_index, past_length=0):
    return token_positions(tokens, padding_index)


@places.mistake("down_the_batch")
def places_down_the_batch(tokens, padding_index, past_length=0):
    real = _real(tokens, padding_index)
    return (np.cumsum(real, axis=0) + past_length) * real + padding_index


@places.mistake("inverted")
def places_inverted(tokens, padding_index, past_length=0):
    padded = tokens == padding_index
    return np.where(padded, np.cumsum(padded, axis=1) + past_length + padding_index, padding_index)


@places.mistake("padding_is_1")
def places_padding_is_1(tokens, padding_index, past_length=0):
    return token_positions(tokens, 1, past_length)


@places.mistake("padding_token_is_1")
def places_padding_token_is_1(tokens, padding_index, past_length=0):
    real = tokens != 1
    return np.where(real, np.cumsum(real, axis=1) + past_length + padding_index, padding_index)


@places.mistake("across_rows")
def places_across_rows(tokens, padding_index, past_length=0):
    real = _real(tokens, padding_index)
    return (np.cumsum(real).reshape(real.shape) + past_length) * real + padding_index


@places.mistake("no_padding_index")
def places_no_padding_index(tokens, padding_index, past_length=0):
    real = _real(tokens, padding_index)
    return (np.cumsum(real, axis=1) + past_length) * real


@places.mistake("always_two")
def places_always_two(tokens, padding_index, past_length=0):
    real = _real(tokens, padding_index)
    return np.where(real == 1, np.cumsum(real, axis=1) + past_length + 1, padding_index)


@places.mistake("one_late")
def places_one_late(tokens, padding_index, past_length=0):
    real = _real(tokens, padding_index)
    return (np.cumsum(real, axis=1) + past_length + 1) * real + padding_index


@places.mistake("not_moved")
def places_not_moved(tokens, padding_index, past_length=0):
    real = tokens != padding_index
    return np.where(real, np.cumsum(real, axis=1) + past_length, padding_index)


@places.mistake("flattened")
def places_flattened(tokens, padding_index, past_length=0):
    real = tokens != padding_index
    return np.where(real, np.cumsum(real) + past_length + padding_index, padding_index)


@places.variant("loops")
def places_loops(tokens, padding_index, past_length=0):
    result = []
    for row in tokens.tolist():
        last, out = padding_index + past_length, []
        for token in row:
            last += token != padding_index
            out.append(last if token != padding_index else padding_index)
        result.append(out)
    return np.array(result, dtype=np.int32)


@places.variant("where")
def places_where(tokens, padding_index, past_length=0):
    real = tokens != padding_index
    return np.where(real, real.cumsum(axis=-1) + past_length + padding_index, padding_index)


@places.adapt
def places_as_library(fn):
    def adapted(tokens, padding_index, past_length=0):
        return np.asarray(fn(np.asarray(tokens), padding_index, past_length))

    return adapted


# -- 03.7 mend the port

port = bank.exercise("03.7", axes=("batch", "token", "column"), atol=1e-4)


@port.cases
def port_cases():
    yield case(np.array([[5, 6]]), 4, 1, note="no padding, padding_index 1")
    yield case(np.array([[5, 6, 1], [1, 5, 6]]), 4, 1, note="padding on both sides")
    yield case(np.array([[5]]), 6, 1, 3, note="one step later: three tokens went before")
    yield case(np.array([[5, 3, 3], [6, 7, 8]]), 8, 3, note="here padding is token 3")
    yield case(np.array([[4, 0], [0, 0]]), 8, 0, 2, note="padding is token 0; row 2 is all padding")
    rng = np.random.default_rng(37)
    tokens = rng.integers(4, 9, size=(3, 6))
    tokens[0, 3:], tokens[2, :2] = 2, 2
    yield case(tokens, 16, 2, 5, note="random")


@port.reference
def position_vectors(tokens, width, padding_index, past_length=0):
    rows = position_embeddings.token_positions(tokens, padding_index, past_length)
    length = rows.max() + 1
    table = position_embeddings.fairseq_sinusoids(length, width, padding_index)
    return table[rows]


def _vectors(rows, width, padding_index):
    length = int(rows.max()) + 1
    return position_embeddings.fairseq_sinusoids(length, width, padding_index)[rows]


@port.mistake("as_found")
def port_as_found(tokens, width, padding_index, past_length=0):
    end = past_length + tokens.shape[1]
    table = position_embeddings.sinusoidal_embeddings(end, width, "fairseq", padding_index)
    rows = np.arange(past_length, end)
    return np.stack([table[rows]] * len(tokens))


@port.mistake("counts_padding")
def port_counts_padding(tokens, width, padding_index, past_length=0):
    rows = places_counts_padding(tokens, padding_index, past_length)
    return _vectors(rows, width, padding_index)


@port.mistake("literal_two")
def port_literal_two(tokens, width, padding_index, past_length=0):
    rows = np.broadcast_to(np.arange(tokens.shape[1]) + past_length + 2, tokens.shape)
    return _vectors(rows, width, padding_index)


@port.mistake("literal_two_masked")
def port_literal_two_masked(tokens, width, padding_index, past_length=0):
    return _vectors(places_always_two(tokens, padding_index, past_length), width, padding_index)


@port.mistake("counts_through_padding")
def port_counts_through_padding(tokens, width, padding_index, past_length=0):
    rows = places_counts_through_padding(tokens, padding_index, past_length)
    return _vectors(rows, width, padding_index)


@port.mistake("no_past")
def port_no_past(tokens, width, padding_index, past_length=0):
    return _vectors(token_positions(tokens, padding_index), width, padding_index)


@port.mistake("padding_moves_on")
def port_padding_moves_on(tokens, width, padding_index, past_length=0):
    rows = places_padding_moves_on(tokens, padding_index, past_length)
    return _vectors(rows, width, padding_index)


@port.mistake("no_padding_row")
def port_no_padding_row(tokens, width, padding_index, past_length=0):
    return _vectors(token_positions(tokens, padding_index, past_length), width, None)


@port.mistake("padding_row_one")
def port_padding_row_one(tokens, width, padding_index, past_length=0):
    return _vectors(token_positions(tokens, padding_index, past_length), width, 1)


@port.mistake("paper")
def port_paper(tokens, width, padding_index, past_length=0):
    rows = token_positions(tokens, padding_index, past_length)
    wave = paper_table(rows.max() + 1, width)
    wave[padding_index] = 0
    return wave[rows]


@port.mistake("two_rows_more")
def port_two_rows_more(tokens, width, padding_index, past_length=0):
    length = past_length + tokens.shape[1] + 2
    table = position_embeddings.sinusoidal_embeddings(length, width, "fairseq", padding_index)
    return table[token_positions(tokens, padding_index, past_length)]


@port.variant("a generous table")
def port_generous(tokens, width, padding_index, past_length=0):
    length = past_length + tokens.shape[1] + padding_index + 1
    table = position_embeddings.sinusoidal_embeddings(length, width, "fairseq", padding_index)
    return table[token_positions(tokens, padding_index, past_length)]


@port.variant("zeros by hand, float64")
def port_zeros_by_hand(tokens, width, padding_index, past_length=0):
    rows = token_positions(tokens, padding_index, past_length)
    table = checkpoint_table(rows.max() + 1, width)
    return np.where((tokens == padding_index)[..., None], 0.0, table[rows])


port.equivalent("1 -> 2", "a table with a row too many has the same rows")
