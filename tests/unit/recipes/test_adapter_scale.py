"""The scale of a residual adapter's output, chosen on held-out utterances."""

import pandas as pd
import pytest

from asr_lab.recipes.adaptation.fit import choose_scale


@pytest.mark.parametrize(
    ("errors", "chosen"),
    [
        ({0.0: [4, 4, 4, 4], 0.5: [1, 2, 1, 2], 1.0: [1, 1, 2, 2]}, 1.0),  # equally good: no reason to add less
        ({0.0: [4, 4, 4, 4], 0.5: [1, 1, 1, 1], 1.0: [0, 2, 1, 2]}, 1.0),  # worse by one, which is chance
        ({0.0: [4, 4, 4, 4], 0.5: [1, 1, 1, 1], 1.0: [2, 2, 2, 2]}, 0.5),  # worse in each utterance
        ({0.0: [4, 4, 4, 4], 0.5: [4, 4, 4, 3], 1.0: [2, 6, 4, 4]}, 0.5),  # within chance, but no better than the base
        ({0.0: [1, 1, 1, 1], 0.5: [1, 2, 1, 0], 1.0: [0, 3, 1, 0]}, 0.0),  # no better than the base
    ],
)
def test_the_largest_scale_within_a_standard_error_is_chosen(errors, chosen):
    assert choose_scale(pd.DataFrame(errors)) == chosen
