import math
import random
import string

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from minitransformer.experiments.runs import find_task
from minitransformer.text import (
    CODE,
    DOCS,
    TEXT_VOCAB_SIZE,
    TextTask,
    code_text,
    decode,
    docs_text,
    encode,
    read_text,
)

PRINTABLE = "\n" + "".join(map(chr, range(32, 127)))


def random_text(length, seed=0):
    return "".join(random.Random(seed).choices(string.ascii_lowercase, k=length))


# ---- characters and tokens ------------------------------------------------------------------------------------------


def test_every_printable_character_has_a_token_of_its_own():
    assert encode(PRINTABLE).tolist() == list(range(TEXT_VOCAB_SIZE))


@given(st.text(alphabet=PRINTABLE))
def test_decode_gives_back_what_was_encoded(text):
    assert decode(encode(text)) == text


@given(st.text())
def test_every_text_encodes_to_tokens_of_the_vocabulary(text):
    tokens = encode(text)
    assert ((tokens >= 0) & (tokens < TEXT_VOCAB_SIZE)).all()


def test_characters_outside_the_vocabulary_become_question_marks():
    assert decode(encode("naïve → 日本\x07\x7f\x0b🙂")) == "na?ve ? ??????"


def test_every_kind_of_line_end_is_a_line_break():
    assert decode(encode("one\r\ntwo\rthree\n\r\n\tfour")) == "one\ntwo\nthree\n\n    four"


def test_tabs_become_spaces_up_to_the_next_column():
    assert decode(encode("\tx\nab\ty")) == "    x\nab  y"


# ---- windows --------------------------------------------------------------------------------------------------------


def test_batches_are_windows_of_the_training_text_with_the_next_character_as_target():
    text = random_text(5000)
    inputs, targets = TextTask("t", text, context=20).batch(500, torch.Generator().manual_seed(0))
    assert inputs.shape == targets.shape == (500, 20)
    starts = []
    for row, target in zip(inputs, targets, strict=True):
        starts.append(text.index(decode(row)))
        assert text[starts[-1] :].startswith(decode(torch.cat([row, target[-1:]])))
        assert torch.equal(row[1:], target[:-1])
    assert max(starts) + 21 <= 4500  # the last tenth is held out
    assert min(starts) < 100 < 4300 < max(starts)


def test_smallest_text_gives_its_one_training_window():
    text = random_text(42)
    inputs, targets = TextTask("t", text, context=20).batch(5, torch.Generator())
    assert {decode(row) for row in inputs} == {text[:20]}
    assert {decode(row) for row in targets} == {text[1:21]}


def test_held_out_windows_come_from_the_last_tenth_and_do_not_occur_in_the_training_text():
    text = random_text(9000)
    text += text[:420] + random_text(580, seed=1)  # half of the last tenth was seen in training
    training, windows = TextTask("t", text, context=20).splits
    seen = decode(training)
    assert seen == text[:9000]
    assert len(windows) == pytest.approx(580 / 21, abs=1)
    for window in map(decode, windows):
        assert len(window) == 21
        assert window in text[9000:]
        assert window not in seen


def test_held_out_windows_are_spread_over_the_last_tenth():
    text = random_text(100_000)
    windows = TextTask("t", text, context=20).held_out
    places = [text.index(decode(window)) for window in windows]
    assert len(places) == 64
    assert min(places) < 91_000
    assert max(places) > 98_000


def test_source_is_read_once_and_not_before_it_is_needed():
    calls = []
    task = TextTask("t", lambda: calls.append(1) or random_text(500), context=20)
    assert not calls
    task.batch(2, torch.Generator())
    task.batch(2, torch.Generator())
    assert len(calls) == 1


# ---- the score ------------------------------------------------------------------------------------------------------


def test_score_of_the_uniform_model_is_the_size_of_the_vocabulary_in_bits(constant_model):
    task = TextTask("t", random_text(5000), context=20)
    assert task.score(constant_model(torch.zeros(96))) == pytest.approx(math.log2(96), abs=1e-5)


def test_score_is_the_mean_of_bits_over_held_out_characters(constant_model):
    task = TextTask("t", random_text(5000), context=20)
    logits = torch.randn(96)
    normalizer = sum(math.exp(x) for x in logits.tolist())
    predicted = [token for window in task.splits[1].tolist() for token in window[1:]]
    bits = [-math.log2(math.exp(logits[token]) / normalizer) for token in predicted]
    assert task.score(constant_model(logits)) == pytest.approx(sum(bits) / len(bits), abs=1e-4)


# ---- the texts of this Python ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "word"), [(docs_text, "The try statement"), (code_text, "def __init__(self")], ids=["docs", "code"]
)
def test_this_python_carries_enough_text(text, word):
    text = text()
    assert len(text) > 200_000
    tokens = encode(text)
    assert (tokens == encode("?")).float().mean() < 0.01
    assert word in text.replace('"', "")


@pytest.mark.parametrize("task", [DOCS, CODE], ids=lambda task: task.name)
def test_shipped_text_tasks_hold_out_new_text(task):
    training, windows = task.splits[0], task.held_out
    assert windows.shape == (64, task.context + 1)
    seen = decode(training)
    assert not [window for window in map(decode, windows) if window in seen]


def test_library_without_source_files_is_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    with pytest.raises(ValueError, match=r"no source code .*--corpus"):
        code_text()


# ---- a text of one's own --------------------------------------------------------------------------------------------


GREEK = "".join(random.Random(0).choices("αβγδεζηθικλμν", k=3000))
FRENCH = "Où est passé l'été ? Là-bas, où naît « l'idée ».\n" + random_text(100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GREEK, r"the text of task 't' has 100.0% of characters .* does not know: 'α' \(\d+\), .* and 5 more kinds; "),
        (FRENCH, r"6\.7% .*'é' \(4\), 'ù' \(2\), .*Write the text in these \(e for é"),
        ("\x0b" * 20 + random_text(980), r"2.0% .*'\\x0b' \(20\);"),
    ],
    ids=["greek", "french", "control"],
)
def test_text_of_other_characters_is_refused_and_not_learnt_as_question_marks(text, message):
    with pytest.raises(ValueError, match=message):
        TextTask("t", text, context=20).batch(1, torch.Generator())


def test_share_of_unknown_characters_is_refused_above_one_in_a_hundred():
    TextTask("t", "é" * 10 + random_text(990), context=20).batch(1, torch.Generator())
    with pytest.raises(ValueError, match=r"1\.1% of characters"):
        TextTask("t", "é" * 11 + random_text(989), context=20).batch(1, torch.Generator())


def test_tabs_and_line_ends_are_no_unknown_characters():
    text = "".join(f"{word}\t{word}\r\n" for word in (random_text(2, seed) for seed in range(300)))
    TextTask("t", text, context=20).batch(1, torch.Generator())


def test_text_of_question_marks_is_a_text(constant_model):
    text = "".join(random.Random(0).choices("?!", k=3000))
    assert TextTask("t", text, context=20).score(constant_model(torch.zeros(96))) == pytest.approx(math.log2(96))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("αβγ".encode() * 200, "the text of task 'corpus' has 100.0% of characters"),
        (None, "cannot be read .*No such file.*check the path"),
        (b"\xff\xfe\x00binary", "is not UTF-8 text; save it as a plain text file"),
        (b"PK\x03\x04\x00\x00" * 100, "is not UTF-8 text"),
        (b"", "has 0 characters, which is too short: 194 are needed"),
        (b"x" * 193, "has 193 characters, which is too short: 194 are needed"),
        (b"spam and eggs " * 100, "repeats itself"),
    ],
    ids=["greek", "missing", "not utf-8", "binary", "empty", "too short", "repeats itself"],
)
def test_unusable_corpus_is_an_error_that_says_why(tmp_path, content, message):
    file = tmp_path / "corpus.txt"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        find_task("corpus", str(file)).batch(1, torch.Generator())


def test_folder_is_no_corpus(tmp_path):
    with pytest.raises(ValueError, match=r"cannot be read \(Is a directory\)"):
        read_text(tmp_path)


def test_corpus_of_just_enough_characters_is_usable(tmp_path, constant_model):
    file = tmp_path / "corpus.txt"
    file.write_text("é" + random_text(193), encoding="utf-8")
    task = find_task("corpus", str(file))
    task.batch(4, torch.Generator())
    assert task.score(constant_model(torch.zeros(96))) == pytest.approx(math.log2(96), abs=1e-5)
