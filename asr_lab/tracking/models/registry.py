"""The model registry: versions and aliases, and models by URI."""

from __future__ import annotations

import functools
import json
import re
import shlex
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

from asr_lab.config.names import ADAPTER_PREFIX, registered_name
from asr_lab.config.nearby import nearby_configs
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.families import FAMILIES, makes_adapters, taken_by
from asr_lab.interfaces.tracking import MERGED, RegisteredModel
from asr_lab.metrics import floor
from asr_lab.serving.logged_model import stored_uri
from asr_lab.tracking.connection import without_password
from asr_lab.tracking.models import model_card
from asr_lab.tracking.models.names import family_of, refuse_other_kind, uri_of
from asr_lab.tracking.moved_store import refuse_moved
from asr_lab.tracking.queries.filters import quoted
from asr_lab.tracking.queries.runs import metrics_of
from asr_lab.tracking.store import (
    all_pages,
    explain_store_errors,
    has_tables,
    is_final,
    is_missing,
    shown_uri,
    tracking_uri,
    without_retries,
)
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.tags import BASE, BASE_DIGEST, EXPORTED, FAMILY, LICENSE

CHAMPION = "champion"
_MISSPELT = 0.75  # similarity: deepspech2 is a slip for deepspeech2
_REGISTRY_URI = re.compile(r"models:/(?P<name>[^/@]+)(?:@(?P<alias>[^/]+)|/(?P<version>\d+))")


def new_version(client: MlflowClient, source: str, run_id: str, model: RegisteredModel) -> ModelVersion:
    """Return the version of `model.name` with this source, created if needed.

    A version becomes champion if its name has none, and its run shows that it is better than no output (`floor`);
    an exported model never does, as the scores of its run are its origin's.
    """
    has_champion = _has_champion(client, model.name)
    if has_champion is None:
        _create_name(client, model.name, run_id)
    known = client.search_model_versions(f"name = {quoted(model.name)} and run_id = '{run_id}'")
    made = next((version for version in known if version.source == source), None)
    if made is None:
        made = _made(client, source, run_id, model)
    exported = EXPORTED in model.tags
    if not (exported or has_champion) and not floor.why_below(metrics_of(client.get_run(run_id))):
        client.set_registered_model_alias(model.name, CHAMPION, made.version)
    return made


def standing(uri: str, explained: str = "") -> str:
    """Return why a version is not the champion of its name, and what to do; "" if it is, or `uri` is none.

    A reason that `explained` has is not repeated.
    """
    parts = _REGISTRY_URI.fullmatch(uri)
    if parts is None or not parts["version"]:
        return ""
    client, name, number = tracking_client(), parts["name"], parts["version"]
    with explain_store_errors("the registry cannot be read"):
        champion = client.get_registered_model(name).aliases.get(CHAMPION)
        if str(champion) == number:
            return ""
        version = client.get_model_version(name, number)
        promote = promote_command(version)
        if champion:
            return f"the champion is models:/{name}/{champion}; to compare: {promote}"
        run_id = "" if EXPORTED in version.tags else version.run_id
        why = floor.why_below(metrics_of(client.get_run(run_id))) if run_id else ""
    reason = f": {why}" if why and why not in explained else ""
    force = " --force WHY" if why else ""
    return f"{name} has no champion{reason}; to make it one: {promote}{force}"


def promote_command(version: ModelVersion, alias: str = CHAMPION) -> str:
    """Return the command that gives a version an alias; exported models have no scores of their own yet."""
    other = f" --alias {shlex.quote(alias)}" if alias != CHAMPION else ""
    data = " --data MANIFEST" if EXPORTED in version.tags else ""
    return f"asr-lab promote {shlex.quote(f'{version.name}/{version.version}')}{other}{data}"


def _made(client: MlflowClient, source: str, run_id: str, model: RegisteredModel) -> ModelVersion:
    """Create a version with its model card, which its run gets too; the run of an exported model keeps its own."""
    run = client.get_run(run_id)
    written = model.description or model_card.card(client, run, model.name)
    tags = {FAMILY: run.data.tags[FAMILY]} if FAMILY in run.data.tags else {}
    tags |= model.tags
    if licence := model_card.license_of(client, run):
        tags[LICENSE] = licence
    if EXPORTED not in model.tags:
        client.log_text(run_id, written, model_card.FILE)
    with without_retries():
        made = client.create_model_version(
            model.name,
            source,
            run_id=run_id,
            tags=tags,
            description=written,
            await_creation_for=0,
            model_id=source.removeprefix("models:/"),  # a server refuses the source without it
        )
    _name_on_model(client, source.removeprefix("models:/"), made)
    return made


def _name_on_model(client: MlflowClient, model_id: str, made: ModelVersion) -> None:
    """Name the version on its logged model, as a server does and a database alone does not."""
    known = json.loads(client.get_logged_model(model_id).tags.get(MLFLOW_MODEL_VERSIONS, "[]"))
    names = [one for one in known if (one["name"], str(one["version"])) != (made.name, str(made.version))]
    names.append({"name": made.name, "version": made.version})
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(names)})


def _create_name(client: MlflowClient, name: str, run_id: str) -> None:
    family = client.get_run(run_id).data.tags.get(FAMILY, "")
    about = FAMILIES[family].card if family in FAMILIES else None
    try:
        client.create_registered_model(name, description=about.use if about else None)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":  # another process was faster
            raise


def register_run(run_id: str, name: str) -> ModelVersion:
    """Register the model of a run as a version of `name`.

    Raises `AsrLabError` if the run has no model, or the name is invalid.
    """
    run, source = model_of(run_id, name)
    if known := known_version(run_id, name):
        return known
    refuse_moved(tracking_uri())
    client = tracking_client()
    with explain_store_errors("the model cannot be registered"):
        return new_version(client, source, run_id, RegisteredModel(name=name, files={}, tags=tags_of(run)))


def known_version(run_id: str, name: str, *, merged: bool = False) -> ModelVersion | None:
    """Return the version of `name` that a run's model is already, with its adapters merged or not; None if none."""
    with explain_store_errors("the registry cannot be read"):
        known = tracking_client().search_model_versions(f"name = {quoted(name)} and run_id = '{run_id}'")
    own = (version for version in known if EXPORTED not in version.tags)
    return next((version for version in own if (MERGED in version.tags) == merged), None)


def has_champion(name: str) -> bool:
    """Return whether a version of `name` is the champion; a new version becomes it otherwise."""
    with explain_store_errors("the registry cannot be read"):
        return bool(_has_champion(tracking_client(), name))


def _has_champion(client: MlflowClient, name: str) -> bool | None:
    """Return whether a version of `name` is the champion; None if there is no such name."""
    try:
        return CHAMPION in client.get_registered_model(name).aliases
    except MlflowException as error:
        if not is_missing(error):
            raise
        return None


def model_of(run_id: str, name: str) -> tuple[Run, str]:
    """Return a run and the URI of its model; raises `AsrLabError` if it cannot be a version of `name`."""
    try:
        registered_name(name)
    except ValueError as error:
        raise AsrLabError(str(error), next_command="asr-lab register RUN --name NAME") from error
    with explain_store_errors("the model cannot be registered"):
        run = tracking_client().get_run(run_id)
    refuse_other_kind(name, run.data.tags.get(FAMILY, ""))
    logged = [output.model_id for output in (run.outputs.model_outputs if run.outputs else [])]
    if not logged:
        raise AsrLabError(f"run {run_id[:8]} logged no model", next_command=f"asr-lab show {run_id[:8]}")
    return run, f"models:/{logged[-1]}"


def tags_of(run: Run) -> dict[str, str]:
    """Return the tags of a run that its versions get."""
    return {key: run.data.tags[key] for key in (BASE,) if key in run.data.tags}


def is_adapter(version: ModelVersion) -> bool:
    """Return whether a version is a speaker's adapter: by its tag, its run's tag, or, without run, its name."""
    family = family_of(version)
    return makes_adapters(family) if family else bool(version.name.startswith(ADAPTER_PREFIX))


def adapter_versions() -> list[dict[str, Any]]:
    """Return one row per version of each adapter: speaker, version, champion or not, base and its digest."""
    if not has_tables():
        return []
    client = tracking_client()
    rows = [
        {
            "name": model.name.removeprefix(ADAPTER_PREFIX),
            "version": int(made.version),
            "champion": str(model.aliases.get(CHAMPION)) == str(made.version),
            "base": made.tags.get(BASE, ""),
            "base_digest": made.tags.get(BASE_DIGEST, "")[:8],
            "uri": uri_of(made),
        }
        for model in all_pages(client.search_registered_models, f"name LIKE '{ADAPTER_PREFIX}%'")
        for made in all_pages(client.search_model_versions, f"name = {quoted(model.name)}")
    ]
    return sorted(rows, key=lambda row: (row["name"], row["version"]))


def resolve_version(uri: str) -> str:
    """Return an alias as the version it means today; other URIs of models as they are. Raises `AsrLabError`."""
    if uri.startswith("models:/") and uri.endswith("/latest"):
        return uri_of(_newest(uri))
    parts = _REGISTRY_URI.fullmatch(uri)
    if parts is None:
        if uri.startswith(("runs:/", "models:/")):
            return uri
        raise AsrLabError(
            f"not a model: {uri!r}",
            allowed="models:/NAME@alias, models:/NAME/3, runs:/ID/model, or a model's folder that exists",
        )
    with explain_store_errors("the registry cannot be read"):
        try:
            if parts["alias"]:
                version = tracking_client().get_model_version_by_alias(parts["name"], parts["alias"])
            else:
                version = tracking_client().get_model_version(parts["name"], parts["version"])
        except MlflowException as error:
            if not is_final(error):
                raise  # it may exist
            raise _no_such_model(uri) from error
    return uri_of(version)


def model_files(uri: str) -> Path:
    """Return the local folder of what a model consists of; raises `AsrLabError` if there is no such model."""
    return _download(tracking_uri(), resolve_version(uri)) / "artifacts"


def _newest(uri: str) -> ModelVersion:
    name = uri.removeprefix("models:/").removesuffix("/latest")
    versions = tracking_client().search_model_versions(f"name = {quoted(name)}")
    if not versions:
        raise _no_such_model(uri)
    return max(versions, key=lambda version: int(version.version))


def _no_such_model(uri: str) -> AsrLabError:
    models = {model.name: model for model in tracking_client().search_registered_models()}
    parts = _REGISTRY_URI.fullmatch(uri)
    if parts and (model := models.get(parts["name"])):
        newest = _newest(f"models:/{model.name}/latest")
        missing = f"@{parts['alias']}" if parts["alias"] else f"version {parts['version']}"
        near = nearest(parts["alias"] or "", model.aliases, _MISSPELT)
        return AsrLabError(
            f"{model.name} has no {missing}" + (f"; did you mean @{near}?" if near else ""),
            where=shown_uri(),
            allowed=listing([uri_of(newest), *(f"models:/{model.name}@{alias}" for alias in model.aliases)]),
            next_command=promote_command(newest, parts["alias"]) if parts["alias"] and not near else "",
        )
    names, configs = list(models), nearby_configs(*taken_by("train"))
    near = nearest(parts["name"] if parts else uri, names, _MISSPELT)
    train = f"asr-lab train {configs[0]}" if configs else "" if names else "asr-lab init"
    return AsrLabError(
        f"no model {uri!r}" + (f"; did you mean {near!r}?" if near else ""),
        where=shown_uri(),
        allowed=listing(names) or "the registry is empty",
        next_command="" if near else train,
    )


@functools.lru_cache(maxsize=8)
def _download(store: str, uri: str) -> Path:
    client = tracking_client()
    try:
        return Path(mlflow.artifacts.download_artifacts(artifact_uri=stored_uri(client, uri)))
    except (MlflowException, OSError) as error:
        raise AsrLabError(
            f"the model {uri!r} cannot be read: {without_password(str(error))}", where=without_password(store)
        ) from error
