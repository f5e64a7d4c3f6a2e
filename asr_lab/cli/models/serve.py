"""`asr-lab serve`."""

from __future__ import annotations

import click

from asr_lab.cli.completion import ModelName
from asr_lab.cli.options import console


@click.command()
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
    "--timeout", type=click.FloatRange(1), default=120, show_default=True, help="Seconds until an answer; then 504."
)
def serve(
    model: str,
    adapter_dir: str,
    host: str,
    port: int,
    api_key: str,
    max_mb: int,
    max_seconds: float,
    max_requests: int,
    timeout: float,
) -> None:
    """Transcribe over HTTP, by the API that clients of OpenAI's speech recognition use.

    POST /v1/audio/transcriptions takes a file, and as `model` the recogniser or a speaker, whose adapter is then used.
    Ctrl-C ends the server once requests under way are answered.

    \b
    Examples:
      asr-lab serve
      asr-lab serve --model models:/deepspeech2/3 --port 8080
      ASR_LAB_API_KEY=... asr-lab serve --host 0.0.0.0
    """
    from asr_lab.serving import http_server
    from asr_lab.serving.http_api import Limits
    from asr_lab.serving.served_models import open_models
    from asr_lab.tracking.models.registry import MlflowStore, adapter_versions

    http_server.check_key(host, api_key)
    out = console()
    with http_server.bind(host, port) as bound:
        models = open_models(MlflowStore(), model, adapter_dir, adapter_versions)

        def ready(address: str) -> None:
            out.say("model     {}", models.version)
            out.say("speakers  {}", ", ".join(models.speakers()) or "none")
            out.say("API       {}/v1  {}", address, "with the API key" if api_key else "for this machine alone")
            out.say("[dim]Ctrl-C ends it[/]")

        limits = Limits(max_bytes=max_mb * 2**20, max_audio_s=max_seconds, max_waiting=max_requests, timeout_s=timeout)
        http_server.run(models, bound, limits, api_key, ready)
