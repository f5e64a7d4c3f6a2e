"""A family as somebody else would add it: a linear layer on log-mel features. Its entry stands in `ENTRY`."""

from asr_lab.families import Family, ModelCard

ENTRY = Family(
    config="toy_family.toy:ToyExperiment",
    recipe="asr_lab.recipes.recognition.train:RECIPE",
    from_key="model.pretrained",
    loaders={"toy": "toy_family.toy:load_recognizer"},
    initialization="toy_family.toy:start",
    decides=("val/cer",),
    shows=("val/cer", "model/params"),
    logs=("train/loss", "val/loss", "val/wer", "val/cer", "model/params"),
    trials="asr_lab.sweeps.trial_training:Trainings",
    card=ModelCard(use="Showing that a family is one entry.", figures=("val/cer",)),
)
