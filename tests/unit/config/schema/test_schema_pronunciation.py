"""The older command of pronunciation training, and settings that cannot be meant."""

from pathlib import Path

import pytest

from asr_lab.config.load import load, parse_overrides
from asr_lab.errors import AsrLabError

OLDER = (
    "model_type=cross,main_lr=2e-4,wav2vec_lr=2e-5,num_epochs=5,experiment_name=my_experiment,hidden_dim=1024,"
    "batch_size=8,gradient_accumulation=2,error_weight=0.5,phoneme_weight=2,train_data=a,val_data=b,eval_data=c,seed=7"
)


def test_every_override_of_the_older_command_has_an_equivalent():
    config = load(None, parse_overrides([OLDER, "recipe=pronunciation"]))
    assert (config.model.type, config.train.lr, config.train.encoder_lr) == ("cross", 2e-4, 2e-5)
    assert (config.train.epochs, config.run.name, config.model.head_size) == (5, "my_experiment", 1024)
    assert (config.train.batch_size, config.train.accumulate, config.run.seed) == (8, 2, 7)
    assert (config.loss.errors, config.loss.phonemes) == (0.5, 2.0)
    assert (config.data.train, config.data.val, config.data.test) == ("a", "b", "c")


def test_names_that_say_the_type_follow_an_override_of_it():
    """The older command has one configuration for all four models."""
    file = Path(__file__).parents[4] / "experiments" / "pronunciation" / "cross.yaml"
    other = load(file, parse_overrides(["model_type=hierarchical"]))
    assert (other.run.name, other.run.register_as) == ("hierarchical", "pronunciation-hierarchical")
    named = load(file, parse_overrides(["model_type=simple,experiment_name=my_experiment"]))
    assert (named.run.name, named.run.register_as) == ("my_experiment", "pronunciation-simple")
    large = load(file.with_name("xlsr-cross.yaml"), parse_overrides(["model_type=transformer"]))
    assert large.run.name == "xlsr-transformer"


def test_the_rate_of_a_wav2vec2_is_the_only_one_that_other_recipes_have():
    assert load(None, parse_overrides(["wav2vec_lr=2e-5"]), "wav2vec2").train.lr == 2e-5


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.type=crross", "model.type"),
        ("model.head_size=30", "no multiple of head_heads=4"),
        ("run.register_as=pronunciation-simple", "is no name for model.type=cross"),
        ("loss.errors=0", "train.choose=per"),
        ("model.freeze_features=false", "for a pretrained encoder"),
    ],
)
def test_what_cannot_be_meant_is_refused(override, message):
    with pytest.raises(AsrLabError, match=message):
        load(None, parse_overrides([override]), "pronunciation")
