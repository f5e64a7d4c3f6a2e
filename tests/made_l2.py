"""Assessment tables made by hand, for the tests of metrics, reports and comparisons of pronunciation."""

import numpy as np
import pandas as pd

PHONEMES = ("AA", "AE", "AH", "D", "DH", "K", "S", "T")


def by_hand() -> pd.DataFrame:
    """Two utterances whose figures are worked out on paper in the tests.

    The cat: DH became D, AE was left out, AH was inserted behind K. The other: all right, AH inserted at the end.
    """
    rows = [
        {
            "id": "cat", "speaker": "ana", "l1": "spanish", "text": "the cat",
            "canonical": ["DH", "AH", "K", "AE", "T"],
            "words": [0, 0, 1, 1, 1],
            "perceived": ["D", "AH", "K", "<del>", "T"],
            "insertions": [[], [], [], ["AH"], [], []],
            "errors": [1, 0, 0, 1, 0],
            "recognised": ["D", "AH", "K", "AE", "T"],
            "error_score": [0.9, 0.2, 0.6, 0.4, 0.1],
            "diagnosis": ["D", "AH", "T", "EH", "T"],
            "score": [0.5, 2.0, 1.5, 1.0, 2.0],
            "phone_scores": [0.0, 2.0, 2.0, 0.0, 2.0],
        },
        {
            "id": "kka", "speaker": "bao", "l1": "vietnamese", "text": "k ka",
            "canonical": ["K", "K", "AA"],
            "words": [0, 1, 1],
            "perceived": ["K", "K", "AA"],
            "insertions": [[], [], [], ["AH"]],
            "errors": [0, 0, 0],
            "recognised": ["K", "AA", "AH"],
            "error_score": [0.3, 0.1, 0.5],
            "diagnosis": ["K", "K", "AA"],
            "score": [2.0, 2.0, 2.0],
            "phone_scores": [2.0, 2.0, 2.0],
        },
    ]  # fmt: skip
    return pd.DataFrame(rows)


def at_random(num_utterances: int = 60, *, seed: int = 0, skill: float = 1.5) -> pd.DataFrame:
    """Utterances of 5 to 12 phonemes, a sixth of them wrong, and scores that know it as well as `skill` says."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(num_utterances):
        length = int(draw.integers(5, 13))
        canonical = draw.choice(PHONEMES, length)
        errors = (draw.random(length) < 1 / 6).astype(int)
        other = [draw.choice([one for one in (*PHONEMES, "<del>") if one != phoneme]) for phoneme in canonical]
        perceived = np.where(errors == 1, other, canonical)
        sure = draw.normal(skill * (2 * errors - 1), 1.0)
        gop = draw.normal(errors, 1.0)
        rows.append(
            {
                "id": f"utt{number:04d}", "speaker": f"s{number % 4}", "l1": ("korean", "arabic")[number % 2],
                "text": f"text {number}", "canonical": canonical.tolist(), "words": [i // 3 for i in range(length)],
                "perceived": perceived.tolist(), "insertions": [[] for _ in range(length + 1)],
                "errors": errors.tolist(), "recognised": [one for one in perceived if one != "<del>"],
                "error_score": (1 / (1 + np.exp(-sure))).tolist(), "gop": gop.tolist(),
                "diagnosis": np.where(sure > 0, other, canonical).tolist(),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
