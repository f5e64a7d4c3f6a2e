"""`asr-lab serve`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from asr_lab.cli.completion import ConfigKey, ModelName
from asr_lab.cli.decode_keys import decode_help, decode_settings
from asr_lab.cli.options import Renamed, console, segment_option

if TYPE_CHECKING:
    from asr_lab.serving.long_recordings import Segmentation
    from asr_lab.serving.served_models import ServedModels
    from asr_lab.system.terminal import Console


@click.command(epilog=decode_help())
@click.argument("keys", nargs=-1, type=ConfigKey(("evaluate",)), metavar="[KEY=VALUE]...")
@click.option("--model", type=ModelName("models:/"), default="", help="The recogniser.  [models:/deepspeech2@champion]")
@click.option("--adapter-dir", default="adapters", show_default=True, help="Folder of the adapter files.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0: for other machines; needs an API key.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free port.")
@click.option(
    "--api-key",
    envvar="ASR_LAB_API_KEY",
    default="",
    help="Key that clients send; better in ASR_LAB_API_KEY, where no other user sees it.",
)
@click.option(
    "--max-mb", type=click.IntRange(1, 2000), default=25, show_default=True, help="Largest file, in megabytes."
)
@click.option(
    "--max-seconds", type=click.FloatRange(1), default=600, show_default=True, help="Longest recording, in seconds."
)
@click.option(
    "--max-requests", type=click.IntRange(1), default=100, show_default=True, help="Most at a time; others get 429."
)
@click.option(
    "--timeout-s",
    "--timeout",
    "timeout_s",
    cls=Renamed,
    type=click.FloatRange(1),
    default=120,
    show_default=True,
    help="Seconds to respond within; later responses are 504.",
)
@click.option(
    "--max-streams", type=click.IntRange(1), default=16, show_default=True, help="Most of /v1/realtime at once."
)
@segment_option
def serve(
    keys: tuple[str, ...],
    model: str,
    adapter_dir: str,
    host: str,
    port: int,
    api_key: str,
    max_mb: int,
    max_seconds: float,
    max_requests: int,
    timeout_s: float,
    max_streams: int,
    segment: Segmentation,
) -> None:
    """Transcribe over HTTP, by the API that clients of OpenAI's speech recognition use.

    POST /v1/audio/transcriptions takes a file, as `model` the recogniser or a speaker, whose adapter is then used, and
    as `prompt` hot words. /v1/realtime (WebSockets) transcribes while audio comes in, by a model that was trained with
    model.streaming=true. POST /invocations takes tables as MLflow's server does. decode.* keys are those of evaluate.
    Ctrl-C ends the server once requests under way are answered.

    \b
    Examples:
      asr-lab serve
      asr-lab serve --model models:/deepspeech2/3 --port 8080
      asr-lab serve decode.lm=models:/demo-lm@champion
      ASR_LAB_API_KEY=... asr-lab serve --host 0.0.0.0
    """
    from asr_lab.serving import http_server
    from asr_lab.serving.http_api import Limits
    from asr_lab.serving.long_recordings import check_segmentation
    from asr_lab.serving.realtime_api import StreamLimits
    from asr_lab.serving.served_models import open_models
    from asr_lab.tracking.models.model_store import MlflowStore
    from asr_lab.tracking.models.registry import adapter_versions

    http_server.check_key(host, api_key)
    check_segmentation(segment)
    decode = decode_settings(keys)
    out = console()
    with http_server.bind(host, port) as bound:
        models = open_models(MlflowStore(), model, adapter_dir, adapter_versions, decode)
        models.engine.segmentation = segment
        for note in models.engine.decoders.notes():
            out.say("note      {}", note)

        limits = Limits(
            max_bytes=max_mb * 2**20,
            max_audio_s=max_seconds,
            max_waiting=max_requests,
            timeout_s=timeout_s,
            streams=StreamLimits(max_streams=max_streams),
        )
        http_server.run(models, bound, limits, api_key, partial(_print_ready, models, bool(api_key), out))


def _print_ready(models: ServedModels, needs_key: bool, out: Console, address: str) -> None:
    """Print what is served at an address, and how."""
    from asr_lab.serving import http_server

    out.say("model     {}", models.version)
    out.say("decoding  {}", models.engine.decoders.name)
    out.say("speakers  {}", ", ".join(models.speakers()) or "none")
    out.say("API       {}/v1  {}", address, "with the API key" if needs_key else "for this machine alone")
    if models.engine.recognizer.streams:
        missing = "needs asr_lab[serve], which is not installed"
        out.say("streams   {}", "/v1/realtime" if http_server.has_websockets() else missing)
        if models.engine.decoders.settings.is_beam:
            out.say("          partial results are decoded greedily, finished utterances as above")
    out.say("[dim]Ctrl-C ends it[/]")
