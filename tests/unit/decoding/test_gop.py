"""Forced alignment and goodness of pronunciation, compared with enumeration of all paths of small cases."""

import itertools
import time

import pytest
import torch

from asr_lab.decoding.align import align
from asr_lab.decoding.gop import _log_cumsum, gop, gop_batch, substitutes
from asr_lab.errors import AsrLabError
from asr_lab.units import frames_needed

BLANK = 0


def log_probs(num_frames, num_classes=4, seed=0):
    return torch.randn(num_frames, num_classes, generator=torch.Generator().manual_seed(seed)).mul(2).log_softmax(1)


def likelihoods(probs):
    """Return every sequence -> probability, by enumerating the paths."""
    found = {}
    for path in itertools.product(range(probs.shape[1]), repeat=len(probs)):
        written = tuple(label for label, _ in itertools.groupby(path) if label != BLANK)
        weight = sum(float(probs[frame, label]) for frame, label in enumerate(path))
        found[written] = found.get(written, 0.0) + torch.tensor(weight).double().exp().item()
    return found


@pytest.mark.parametrize(
    ("tokens", "num_frames"),
    [([1], 5), ([2, 1], 5), ([1, 1], 5), ([1, 2, 1], 5), ([3, 3, 2], 4), ([1, 2, 3, 1], 5), ([1, 2, 2, 1], 6)],
)
def test_what_stands_in_a_place_is_as_likely_as_its_paths(tokens, num_frames):
    probs = log_probs(num_frames, seed=len(tokens) + num_frames)
    weights = likelihoods(probs)
    found = substitutes(probs[None], torch.tensor([num_frames]), [tokens], BLANK)[0].exp()
    for n in range(len(tokens)):
        said = [tokens[:n] + ([v] if v != BLANK else []) + tokens[n + 1 :] for v in range(4)]
        wanted = torch.tensor([weights.get(tuple(one), 0.0) for one in said], dtype=torch.float64)
        torch.testing.assert_close(found[n], wanted / wanted.sum(), rtol=1e-5, atol=1e-9)


def test_sums_of_parts_are_those_of_torch():
    sure = torch.randn(150, 3, 5, generator=torch.Generator().manual_seed(1)).double().mul(8).cumsum(0)
    sure[:40, 1] = float("-inf")
    torch.testing.assert_close(_log_cumsum(sure), torch.logcumsumexp(sure, 0))


def test_the_score_is_the_doubt_in_the_canonical_phoneme():
    probs = log_probs(6)
    doubt = -substitutes(probs[None], torch.tensor([6]), [[2, 1]], BLANK)[0][[0, 1], [2, 1]]
    torch.testing.assert_close(gop(probs, [2, 1], BLANK), doubt.float())


def test_padding_and_company_change_nothing():
    longer, shorter = log_probs(30, 6, seed=1), log_probs(12, 6, seed=2)
    batch = torch.nn.utils.rnn.pad_sequence([longer, shorter], batch_first=True, padding_value=7.0)
    tokens = [[1, 2, 2, 5, 3], [4, 4, 1]]
    for method in ("free", "aligned"):
        together = gop_batch(batch, torch.tensor([30, 12]), tokens, BLANK, method)
        for probs, own, found in zip((longer, shorter), tokens, together, strict=True):
            torch.testing.assert_close(found, gop(probs, own, BLANK, method))


def said(tokens, num_classes=6, frames_each=3):
    """Log probabilities of a model confident of the tokens, with a blank before each and at the end."""
    path = [label for token in tokens for label in (BLANK, *[token] * frames_each)] + [BLANK]
    return torch.full((len(path), num_classes), 0.01).scatter(1, torch.tensor(path)[:, None], 0.95).log()


@pytest.mark.parametrize("method", ["free", "aligned"])
@pytest.mark.parametrize(("heard", "wrong"), [([1, 2, 4, 3], 2), ([5, 2, 2, 3], 0), ([1, 2, 2], 3)])
def test_the_phoneme_that_was_said_otherwise_scores_highest(method, heard, wrong):
    scores = gop(said(heard), [1, 2, 2, 3], BLANK, method)
    assert scores.shape == (4,)
    assert scores.argmax() == wrong
    assert scores[wrong] > 2
    assert gop(said([1, 2, 2, 3]), [1, 2, 2, 3], BLANK, method).max() < 0.2


def test_one_of_two_equal_phonemes_that_was_left_out_is_missed_by_alignment_alone():
    heard = said([1, 2, 3])  # alignment gives both a part of the one: the score without it is the better one
    assert gop(heard, [1, 2, 2, 3], BLANK, "aligned").max() < 0.1
    assert gop(heard, [1, 2, 2, 3], BLANK, "free")[1:3].min() > 0.6


def test_what_was_said_instead_is_named():
    found = substitutes(said([1, 4, 3])[None], torch.tensor([13]), [[1, 2, 3]], BLANK)[0]
    assert found.argmax(dim=1).tolist() == [1, 4, 3]
    found = substitutes(said([1, 3])[None], torch.tensor([9]), [[1, 2, 3]], BLANK)[0]
    assert found.argmax(dim=1).tolist() == [1, BLANK, 3]


def test_spans_of_equal_neighbours_are_apart():
    probs = said([1, 1, 2])
    assert align(probs, [1, 1, 2], BLANK) == [(1, 4), (5, 8), (9, 12)]
    assert align(probs, [], BLANK) == []


def test_too_few_frames_are_reported():
    assert frames_needed([1, 1, 2]) == 4
    assert len(align(log_probs(4), [1, 1, 2], BLANK)) == 3
    for run in (align, gop):
        with pytest.raises(AsrLabError, match="3 frames are too few for 3 phonemes, which need 4"):
            run(log_probs(3), [1, 1, 2], BLANK)


def test_a_batch_of_sentences_takes_no_time():
    probs = torch.randn(16, 200, 42).log_softmax(2)
    tokens = [torch.randint(1, 42, (40,)).tolist() for _ in range(16)]
    began = time.process_time()
    gop_batch(probs, torch.full((16,), 200), tokens, BLANK)
    assert time.process_time() - began < 4
