"""The CTC loss of frames in one row against PyTorch's."""

import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from asr_lab.models.ctc import ctc_loss, flat_ctc_loss


@pytest.mark.parametrize("blank", [0, 7, 29])
def test_loss_and_gradient_equal_pytorchs(blank):
    torch.manual_seed(blank)
    lengths, classes = torch.tensor([9, 14, 6]), 30
    labels = torch.tensor([[3, 3, 5, -100], [8, 12, 12, 9], [4, -100, -100, -100]])
    flat = torch.randn(int(lengths.sum()), classes, requires_grad=True)
    ours = flat_ctc_loss(flat, lengths, labels, blank=blank)
    (gradient,) = torch.autograd.grad(ours, flat)
    theirs = ctc_loss(pad_sequence(torch.split(flat, lengths.tolist()), batch_first=True), lengths, labels, blank=blank)
    (wanted,) = torch.autograd.grad(theirs, flat)
    torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(gradient, wanted, atol=1e-6, rtol=1e-4)


def test_labels_that_do_not_fit_count_nothing():
    logits = torch.randn(3, 6, requires_grad=True)
    loss = flat_ctc_loss(logits, torch.tensor([3]), torch.tensor([[1, 2, 3, 4]]), blank=0)
    assert loss == 0
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient.abs().sum() == 0
