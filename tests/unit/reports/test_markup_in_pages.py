"""Names, transcripts and sentences that hold HTML or a script are text in every page, and nothing in them runs."""

from html.parser import HTMLParser
from xml.sax.saxutils import escape

import pandas as pd
import pytest
from made_l2 import by_hand

from asr_lab.metrics import error_rates
from asr_lab.metrics.pronunciation import Calibration, flagged
from asr_lab.metrics.significance import Interval
from asr_lab.metrics.slices import slices
from asr_lab.reports.alignment import alignment_page
from asr_lab.reports.comparison import ComparisonReport
from asr_lab.reports.curves import curves_figure
from asr_lab.reports.learner import learner_page
from asr_lab.reports.slices import slices_figure
from asr_lab.reports.splits import splits_page
from asr_lab.reports.sweep import svg, sweep_page
from asr_lab.reports.table import Table
from asr_lab.system.visible_text import one_line

EVIL = "x\"'></script></title></style><script>alert(1)</script><img src=x onerror=alert(1)>{{ 7 * 7 }}"


class Tags(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.scripts, self.text, self.handlers, self.images = 0, "", [], 0
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.scripts += tag == "script"
        self.images += tag == "img"
        self.handlers += [name for name, _ in attrs if name.startswith("on")]

    def handle_data(self, data):
        self.text += data


def alignment():
    table = error_rates.score({"a": f"the {EVIL}"}, {"a": f"{EVIL} cat"}).assign(speaker=EVIL, gender=EVIL, id=EVIL)
    audio = {EVIL: "data:audio/ogg;base64,AAAA"}
    return alignment_page(table, EVIL, Interval(0, 0, 0), slices=slices(table), audio=audio, note=EVIL)


def comparison():
    table = pd.DataFrame({"run": [EVIL, "b"], EVIL: [EVIL, ""], "test/wer": [0.1, 0.2]}, index=[EVIL, "2"])
    curves = pd.DataFrame({"run": EVIL, "metric": EVIL, "step": [1, 2], "seconds": [1.0, 2.0], "value": [1.0, 2.0]})
    best = {"test/wer": EVIL}
    return ComparisonReport(frame=table, metric=EVIL, best=best, sentences=[EVIL], baseline=EVIL).page(curves)


def learner():
    table = by_hand().assign(text=EVIL, id=[EVIL, "b"], l1=EVIL)
    table["canonical"] = [[EVIL, *row[1:]] for row in table["canonical"]]
    told = flagged(table, "error_score", 0.5)
    return learner_page(told, Calibration("error_score", -1.0, 0.0, EVIL, 100), learner=EVIL, model=EVIL, note=EVIL)


def splits():
    table = Table(frame=pd.DataFrame({EVIL: [EVIL]}))
    return splits_page(
        EVIL, [EVIL], sizes=table, overlap=table, distributions=table, members={EVIL: [EVIL]}, figure=b"png"
    )


def sweep():
    table = pd.DataFrame({"trial": [1], EVIL: [EVIL]})
    return sweep_page(EVIL, [EVIL], {EVIL: "<svg></svg>"}, table, [1])


@pytest.mark.parametrize(
    ("make", "scripts", "images"),
    [(alignment, 2, 0), (comparison, 2, 0), (learner, 2, 0), (splits, 0, 1), (sweep, 0, 0)],
)
def test_what_is_filled_in_is_text(make, scripts, images):
    page = make()
    tags = Tags(page)
    assert (tags.scripts, tags.images, tags.handlers) == (scripts, images, [])
    assert "{{ 7 * 7 }}" in tags.text
    assert page.count(">alert(1)") == 0


@pytest.mark.parametrize("name", ["a$b$", r"$\frac{$", "_x", "$", "\x1b[31m\n", r"\$"])
@pytest.mark.slow
def test_names_in_figures_are_no_formulas_and_in_the_legend(name):
    points = {"run": [name, name, "other"], "metric": "val/wer", "step": [1, 2, 1], "seconds": [1.0, 2.0, 3.0]}
    page = svg(curves_figure(pd.DataFrame(points).assign(value=[0.5, 0.4, 0.6])))
    assert escape(one_line(name)) in page
    rates = {"utterances": 1, "wer": 0.5, "low": 0.4, "high": 0.6, "few": False}
    parts = pd.DataFrame([{"slice": "speaker", "value": name, **rates}])
    assert escape(one_line(name)) in svg(slices_figure(parts))
