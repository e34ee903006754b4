"""Bare clients and other frameworks, making calls and nothing else.

``python -m benchmarks.clients NAME URL CALLS IN_FLIGHT``; run a framework with its own Python.
"""

import asyncio
import importlib.util
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

Ask = Callable[[str], Awaitable[None]]
Client = Callable[[str], AbstractAsyncContextManager[Ask]]
PARAMETERS: dict[str, Any] = {"temperature": 0.7, "max_tokens": 512}


def main() -> None:
    name, url, calls, in_flight = sys.argv[1:]
    os.environ.setdefault("OPENAI_API_KEY", "none")
    if name in FRAMEWORKS:
        FRAMEWORKS[name](url, int(calls), int(in_flight))
    else:
        asyncio.run(run_client(CLIENTS[name], url, int(calls), int(in_flight)))


async def run_client(client: Client, url: str, calls: int, in_flight: int) -> None:
    slots = asyncio.Semaphore(in_flight)
    async with client(url) as ask:

        async def one(number: int) -> None:
            async with slots:
                await ask(prompt(number))

        await asyncio.gather(*(one(number) for number in range(calls)))


def prompt(number: int) -> str:
    return f"What is {number} plus {number}?"


def messages(text: str) -> list[dict[str, str]]:
    system = {"role": "system", "content": "You are a helpful assistant."}
    return [system, {"role": "user", "content": text}]


@asynccontextmanager
async def aiohttp_client(url: str) -> AsyncIterator[Ask]:
    import aiohttp  # noqa: PLC0415

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(text: str) -> None:
            body = {"model": "stand-in", "messages": messages(text), **PARAMETERS}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                assert (await response.json())["choices"]

        yield ask


@asynccontextmanager
async def direct_transport_client(url: str) -> AsyncIterator[Ask]:
    from archon_batch.archon import Call, CallKey, Message, Model  # noqa: PLC0415
    from archon_batch.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

    provider, model = OpenAICompatibleProvider(60.0), Model(model="openai/stand-in", api_base=url)

    async def ask(text: str) -> None:
        said = tuple(Message(m["role"], m["content"]) for m in messages(text))  # type: ignore[arg-type]
        key = CallKey(0, 0, 0, 0)
        await provider.complete(Call(key, "generator", model, said, 0, 0.7, 512, None), "job/1")

    yield ask
    await provider.close()


@asynccontextmanager
async def openai_client(url: str, *, fast: bool = False) -> AsyncIterator[Ask]:
    import openai  # noqa: PLC0415

    http = openai.DefaultAioHttpClient() if fast else openai.DefaultAsyncHttpxClient()
    sdk = openai.AsyncOpenAI(
        base_url=url, api_key="none", max_retries=0, timeout=60, http_client=http
    )
    async with sdk:

        async def ask(text: str) -> None:
            said: Any = messages(text)
            done = await sdk.chat.completions.create(
                model="stand-in", messages=said, temperature=0.7, max_tokens=512
            )
            assert done.choices

        yield ask


def openai_aiohttp_client(url: str) -> AbstractAsyncContextManager[Ask]:
    return openai_client(url, fast=True)


@asynccontextmanager
async def litellm_client(url: str) -> AsyncIterator[Ask]:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
    import litellm  # noqa: PLC0415

    async def ask(text: str) -> None:
        await litellm.acompletion(
            model="openai/stand-in", api_base=url, api_key="none", messages=messages(text),
            num_retries=0, max_retries=0, timeout=60, **PARAMETERS,
        )  # fmt: skip

    yield ask


def run_curator(url: str, calls: int, in_flight: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"CURATOR_CACHE_DIR": folder, "TELEMETRY_ENABLED": "false"}
        # Curator would download a token table; litellm, which it needs, contains one.
        litellm = importlib.util.find_spec("litellm")
        if litellm is not None and litellm.origin is not None:
            tables = Path(litellm.origin).parent / "litellm_core_utils" / "tokenizers"
            os.environ.setdefault("TIKTOKEN_CACHE_DIR", str(tables))
        from bespokelabs import curator as bespoke_curator  # type: ignore[import-not-found]  # noqa: PLC0415

        llm = bespoke_curator.LLM(
            # Curator fails for models whose reply length it does not know.
            model_name="gpt-4o-mini",
            backend="openai",
            backend_params={
                "base_url": url, "max_retries": 1, "max_concurrent_requests": in_flight,
                "max_requests_per_minute": 10_000_000, "max_tokens_per_minute": 10_000_000_000,
            },
            generation_params=PARAMETERS,
        )  # fmt: skip
        answers = llm([prompt(number) for number in range(calls)])
        assert len(getattr(answers, "dataset", answers)) == calls


def run_data_designer(url: str, calls: int, in_flight: int) -> None:
    os.environ |= {"NEMO_TELEMETRY_ENABLED": "false"}
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415
    from data_designer import config as dd  # type: ignore[import-not-found]  # noqa: PLC0415
    from data_designer.interface import (  # type: ignore[import-not-found]  # noqa: PLC0415
        DataDesigner,
    )

    parameters = dd.ChatCompletionInferenceParams(**PARAMETERS, max_parallel_requests=in_flight)
    model = dd.ModelConfig(
        alias="one", model="stand-in", provider="here", inference_parameters=parameters,
        skip_health_check=True,
    )  # fmt: skip
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    rows = pd.DataFrame({"question": [prompt(number) for number in range(calls)]})
    builder.with_seed_dataset(dd.DataFrameSeedSource(df=rows))
    builder.add_column(
        dd.LLMTextColumnConfig(name="answer", model_alias="one", prompt="{{ question }}")
    )
    here = dd.ModelProvider(name="here", endpoint=url, provider_type="openai", api_key="none")
    with tempfile.TemporaryDirectory() as folder:
        made = DataDesigner(artifact_path=folder, model_providers=[here])
        assert len(made.create(builder, num_records=calls).load_dataset()) == calls


def run_distilabel(url: str, calls: int, in_flight: int) -> None:
    from distilabel import models, pipeline  # type: ignore[import-not-found]  # noqa: PLC0415
    from distilabel.steps.tasks import (  # type: ignore[import-not-found]  # noqa: PLC0415
        TextGeneration,
    )

    parameters = {"temperature": 0.7, "max_new_tokens": 512}
    with tempfile.TemporaryDirectory() as folder:
        with pipeline.Pipeline(name="bench", cache_dir=folder) as made:
            llm = models.OpenAILLM(
                model="stand-in", base_url=url, api_key="none", generation_kwargs=parameters
            )
            TextGeneration(llm=llm, input_batch_size=in_flight)
        rows = [{"instruction": prompt(number)} for number in range(calls)]
        assert len(made.run(dataset=rows, use_cache=False)["default"]["train"]) == calls


CLIENTS: dict[str, Client] = {
    "aiohttp": aiohttp_client,
    "transport alone": direct_transport_client,
    "openai (httpx)": openai_client,
    "openai (aiohttp)": openai_aiohttp_client,
    "litellm": litellm_client,
}
FRAMEWORKS: dict[str, Callable[[str, int, int], None]] = {
    "curator": run_curator, "designer": run_data_designer, "distilabel": run_distilabel,
}  # fmt: skip


if __name__ == "__main__":
    main()
