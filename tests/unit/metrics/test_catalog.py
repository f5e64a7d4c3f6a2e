"""The direction of each metric."""

from asr_lab.families import FAMILIES
from asr_lab.metrics.catalog import METRICS, direction


def test_directions():
    assert direction("val/wer") == "lower"
    assert direction("val/wer_by_age/5") == "lower"
    assert direction("model/params") == "neither"
    for name in [name for one in FAMILIES.values() for name in (*one.decides, *one.shows)]:
        assert name in METRICS
    for one in FAMILIES.values():
        assert set(one.logs) | set(one.card.figures if one.card else ()) <= set(METRICS)
