"""A model on this machine: asked for texts, scores and hidden states, by judges, the loop and training alike.

`load_model` is the one way in. The arithmetic is in `engine.models.nn.decoder`, the writing of texts in
`engine.models.inference.generate`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from engine.control import Control
from engine.errors import ModelError, RedraftError
from engine.files import is_unfinished
from engine.models import chat, machine_profile
from engine.models.hub import adapter as adapters
from engine.models.hub import (
    catalog,
    checkpoint,
    embedded,
    gguf,
    gguf_copy,
    load,
    memory,
    memory_estimate,
    weights_hash,
)
from engine.models.hub.embedded import Progress, silent
from engine.models.hub.hf_logging import quiet
from engine.models.inference.requests import Completion, Message, Request
from engine.models.inference.token_codec import Codec
from engine.models.nn import families, quantized
from engine.models.nn.config import FAMILIES, ModelConfig, Quantization

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from engine.models.inference.hidden_states import Pooling
    from engine.models.nn.decoder import LanguageDecoder
    from engine.models.nn.lora_weights import Adapter


@dataclass(frozen=True)
class LocalModel:
    """A loaded model; satisfies `engine.models.inference.requests.LanguageModel`.

    Args:
        name: what is shown for it.
        decoder: weights and arithmetic.
        tokenizer: the model's own.
        codec: text to tokens and back, by that tokenizer; knows the tokens that end an answer.
        chat: how its chats are written.
        context: most tokens of prompt and completion together.
        parameters: weights, counted before anything is shared or packed.
        folder: where config and tokenizer can be read again; None for a GGUF file.
        files: what `sha256` is computed over.
        seconds: time that loading took.
        adapter: what was merged into the decoder after loading, or None.
        built_in: adapters that were merged while it was loaded, since its name is that of an adapter; part of this
            model, as its files are. The files of `folder` do not hold them.
        notices: sentences on what of its files is not used, or used otherwise than a user may expect.
        quantization: of the layers' matrices.
    """

    name: str
    decoder: LanguageDecoder
    tokenizer: PreTrainedTokenizerBase
    codec: Codec
    chat: chat.Chat
    context: int
    parameters: int
    folder: Path | None
    files: Callable[[], str]
    seconds: float = 0.0
    adapter: Adapter | None = None
    notices: tuple[str, ...] = ()
    built_in: tuple[Adapter, ...] = ()
    quantization: Quantization = ""

    @property
    def dtype(self) -> str:
        """Number format that is computed in, such as "float32"."""
        return str(self.decoder.dtype).removeprefix("torch.")

    @property
    def device(self) -> str:
        return str(self.decoder.device)

    @property
    def config(self) -> ModelConfig:
        """Sizes and arithmetic; memory estimates are computed from it."""
        return self.decoder.config

    @property
    def sha256(self) -> str:
        """Which weights answer: over the model's files, and the adapter's tensors where one is merged. The first call
        for a large model reads its files (1 to 2 GB/s); after that it is remembered.

        Raises:
            StorageError: if a file is gone.
        """
        base = self.files()
        return base if self.adapter is None else _with_adapter(base, self.adapter)

    @property
    def stop(self) -> tuple[str, ...]:
        """Texts that end an answer, beside its end tokens: none but for models without a chat template."""
        return self.chat.stop

    def render(self, messages: Sequence[Message]) -> str:
        """The chat as the one string that the model is sent (`engine.models.chat`)."""
        return self.chat.render(messages)

    def encode_text(self, prompt: str) -> list[int]:
        """The tokens of a rendered prompt. Nothing is added to it: `render` has written what belongs there."""
        return self.codec.encode(prompt)

    def neutral(self, content: str) -> str:
        """The content, with a space inside everything that the template or the tokenizer would take for its own."""
        return self.chat.neutral(content)

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The tokens of the rendered chat."""
        return self.encode_text(self.render(messages))

    def encode_pair(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
        """Tokens of the prompt, and of the answer with the end of its turn: what training and scoring compare.

        They are tokenized apart, as in generation, where the answer's tokens follow the prompt's.
        """
        prompt = self.render(messages)
        return self.encode_text(prompt), self.encode_text(self.chat.render(messages, answer=answer)[len(prompt) :])

    def count_tokens(self, text: str) -> int:
        """How many tokens a plain text has."""
        return len(self.encode_text(text))

    def decode(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        return self.codec.decode(tokens)

    def generate(self, requests: Sequence[Request], control: Control) -> Iterator[Completion]:
        """Each completion as it ends (`inference.generate`). The plain template's own stop text is added to those
        that a request brings.

        Raises:
            Stopped: within one token step after `control.stop()`.
        """
        from engine.models.inference.generate import generate

        asked = [self._stopping(request) for request in requests]
        completions = generate(
            self.decoder,
            self.codec,
            asked,
            control,
            context=self.context,
            memory=memory_estimate.cache_bytes(self.device),
        )
        return completions if self.chat.thinking is None else map(self._without_thinking, completions)

    def _without_thinking(self, completion: Completion) -> Completion:
        """The answer alone, which is what is judged and learned; `raw` keeps the thoughts."""
        text = self.chat.without_thinking(completion.text)
        if text == completion.text:
            return completion
        if not text.strip():
            cut = completion.finish == "length"
            how = f"was cut off at {completion.tokens} tokens" if cut else f"ended after {completion.tokens} tokens"
            error = f"The answer {how}, all of them thinking.{' Raise the token limit.' if cut else ''}"
            return dataclasses.replace(completion, text="", finish="error", error=error)
        return dataclasses.replace(completion, text=text)

    def hidden(
        self,
        sequences: Sequence[Sequence[int]],
        layers: Sequence[int],
        control: Control,
        *,
        pooling: Pooling = "last",
        starts: Sequence[int] | None = None,
    ) -> Tensor:
        """One vector of the residual stream a text and layer (`engine.models.inference.hidden_states.hidden_states`).

        Returns:
            float32 [sequences, layers, width], on the CPU.

        Raises:
            InputError: if a text is empty or longer than the context.
            Stopped: if asked to.
        """
        from engine.models.inference.hidden_states import hidden_states

        return hidden_states(self.decoder, sequences, layers, control, pooling=pooling, starts=starts)

    def _stopping(self, request: Request) -> Request:
        missing = tuple(text for text in self.stop if text not in request.sampling.stop)
        if not missing:
            return request
        sampling = dataclasses.replace(request.sampling, stop=(*request.sampling.stop, *missing))
        return dataclasses.replace(request, sampling=sampling)

    def with_adapter(self, adapter: Adapter, name: str = "") -> LocalModel:
        """The same model with an adapter merged into its weights; what the adapter leaves alone is shared.

        Raises:
            ModelError: if an adapter is merged already, or this one is not for this model.
        """
        if self.adapter is not None:
            raise ModelError("An adapter is already merged into this model.", where=self.name)
        return dataclasses.replace(self, decoder=self._merged(adapter), adapter=adapter, name=name or self.name)

    def with_built_in(self, adapter: Adapter, name: str) -> LocalModel:
        """A model of its own, made of this one and an adapter: another can be trained on it and merged into it.

        Raises:
            ModelError: as `with_adapter`.
        """
        trained = self.with_adapter(adapter, name)
        return dataclasses.replace(
            trained, adapter=None, files=lambda: trained.sha256, built_in=(*self.built_in, adapter)
        )

    def _merged(self, adapter: Adapter) -> LanguageDecoder:
        held = self.decoder.adaptable()
        for module, pair in sorted(adapter.pairs.items()):
            shape = pair.b.shape[0], pair.a.shape[1]
            if held.get(module, shape) != shape:
                raise ModelError(
                    f"The adapter is not for this model: it changes {module} as a matrix of {list(shape)}, which is "
                    f"{list(held[module])} here.",
                    where=self.name,
                )
        try:
            return self.decoder.merged(adapter)
        except ValueError as error:
            raise ModelError(f"The adapter is not for this model: {error}.", where=self.name) from None


def load_model(
    name: str, *, device: str = "", dtype: str = "", quantization: Quantization = "", progress: Progress = silent
) -> LocalModel:
    """Load a model by a name of the catalog, a hub id, a folder or a GGUF file. Where the folder holds an adapter, its
    base model is loaded and the adapter merged into it.

    Args:
        name: see `engine.models.hub.catalog.resolve`.
        device: "cpu", "cuda", "cuda:1", "mps"; "" takes the best there is.
        dtype: "float32", "bfloat16", "float16"; "" takes what suits the device.
        quantization: of the layers' matrices, which are then frozen; training changes an adapter alone.
        progress: called with the fraction done and a sentence.

    Raises:
        ModelError: if there is no such model, it cannot be fetched or loaded, or does not fit into memory.
        StorageError: if a file is damaged, or the cache cannot be written.
    """
    source = catalog.resolve(name)
    adapters.chain(source)
    if source.kind == "adapter":
        base = load_base(source, device=device, dtype=dtype, quantization=quantization, progress=progress)
        return merge_adapter(source, base)
    progress(0.0, f"Loading {source.name}.")
    chosen = memory_estimate.device(device)
    if chosen == "cpu":
        machine_profile.apply(machine_profile.machine_profile())
    kind = dtype or memory_estimate.default_dtype(chosen)
    load.torch_dtype(kind)
    quantized.check(quantization)
    began = time.monotonic()
    match source.kind:
        case "embedded":
            place = embedded.prepare(progress)
        case "hub":
            from engine.models.hub import download

            if source.entry is not None:
                # Before gigabytes are fetched, not after.
                memory_estimate.check_load(source.name, source.entry.config, kind, chosen, quantization)
            place = download.fetch(source, progress)
        case _:
            assert source.path is not None
            place = source.path
    progress(1.0, f"Loading {source.name}.")
    model = _loaded(source, place, kind, chosen, quantization, began, progress)
    return dataclasses.replace(model, notices=(*model.notices, *_unpinned(source, place)))


def load_base(
    source: catalog.Source,
    *,
    device: str = "",
    dtype: str = "",
    quantization: Quantization = "",
    progress: Progress = silent,
) -> LocalModel:
    """The model that an adapter changes; arguments as `load_model`.

    Raises:
        ModelError: it cannot be had, which is said of the adapter; or it cannot be loaded.
        StorageError: a file is damaged.
    """
    name = adapters.base_name(source)
    return load_model(name, device=device, dtype=dtype, quantization=quantization, progress=progress)


def merge_adapter(source: catalog.Source, base: LocalModel) -> LocalModel:
    """The model that an adapter's folder stands for, given its base model, loaded.

    Raises:
        ModelError: the adapter is for another model.
        InputError, StorageError: it cannot be read.
    """
    assert source.path is not None
    made = base.with_built_in(adapters.load(source.path), source.name)
    return dataclasses.replace(made, notices=(*base.notices, f"An adapter, merged into {base.name}."))


def check_model(name: str, *, device: str = "", dtype: str = "", quantization: Quantization = "") -> None:
    """Refuse what `load_model` would refuse for sure, from headers and configs alone: before anything is written.

    A model on the hub is only checked by its name here, and whether it fits where its sizes are known.

    Raises:
        ModelError, StorageError: as `load_model`.
    """
    source = catalog.resolve(name)
    for part in (chain := adapters.chain(source))[:-1]:
        assert part.path is not None
        adapters.check(part.path)
    source = chain[-1]
    chosen = memory_estimate.device(device)
    kind = dtype or "float32"
    load.torch_dtype(kind)
    quantized.check(quantization)
    if source.kind == "gguf":
        assert source.path is not None
        found = load.gguf_config(source.path)
        tokenizer = load.gguf_tokenizer(source.path)
        load.check_tokenizer(tokenizer, found.vocab_size, source.path)
        _checked_chat(tokenizer, source.path)
        if dtype:
            memory_estimate.check_load(source.name, found, dtype, chosen, quantization)
    elif source.kind == "embedded":
        if not embedded.is_ready():
            embedded.gguf_file()
    elif source.kind == "folder":
        assert source.path is not None
        found = checkpoint.check_folder(source.path).config
        tokenizer = load.folder_tokenizer(source.path)
        load.check_tokenizer(tokenizer, found.vocab_size, source.path)
        _checked_chat(tokenizer, source.path)
        if dtype:
            memory_estimate.check_load(source.name, found, dtype, chosen, quantization)


def _checked_chat(tokenizer: PreTrainedTokenizerBase, place: Path) -> chat.Chat:
    """The chat of a tokenizer, once it is sure that its template can be used; `place` is for the message."""
    try:
        found = chat.for_tokenizer(tokenizer)
        found.check()
    except ModelError as error:
        raise ModelError(error.what, where=f"{place}, {error.where}", next_step=error.next_step) from None
    return found


def _loaded(
    source: catalog.Source,
    place: Path,
    dtype: str,
    device: str,
    quantization: Quantization,
    began: float,
    progress: Progress,
) -> LocalModel:
    is_gguf = source.kind == "gguf"
    checked = gguf.check(place) if is_gguf else checkpoint.check_folder(place)
    memory_estimate.check_load(source.name, checked.config, dtype, device, quantization)
    load.import_transformers()
    if is_gguf:
        model, tokenizer = _read_gguf(source.name, place, dtype, progress)
    else:
        # Quantized from the files' own numbers: the model as a whole is never in memory in the wider dtype.
        narrow = quantization and checked.config.family in FAMILIES and checkpoint.is_bfloat16(place)
        model, tokenizer = _read_folder(place, "bfloat16" if narrow else dtype)
    load.check_tokenizer(tokenizer, model.config.vocab_size, place)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    chats = _checked_chat(tokenizer, place)
    codec = Codec(tokenizer, load.end_tokens(model, tokenizer) | chats.end_tokens(), chats.kept_marks())
    if device != "cpu":
        model.to(device)
    decoder = decoder_of(model, checked.config, place, dtype=dtype, quantization=quantization)
    return LocalModel(
        name=source.name,
        decoder=decoder,
        tokenizer=tokenizer,
        codec=codec,
        chat=chats,
        context=decoder.config.context,
        parameters=parameters,
        folder=None if is_gguf else place,
        files=partial(weights_hash.of_files, [place]) if is_gguf else partial(weights_hash.of_folder, place),
        seconds=time.monotonic() - began,
        notices=(*checked.notices, *chats.notices, *_untied_notice(checked.config, decoder), *_static_notice(decoder)),
        quantization=quantization,
    )


def _read_folder(folder: Path, dtype: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    with ThreadPoolExecutor(1) as pool:
        # The tokenizer is parsed while the weights are read from the disk: each takes about .3 s.
        parsed = pool.submit(load.folder_tokenizer, folder)
        model = load.read_folder(folder, dtype)
        return model, parsed.result()


def _read_gguf(
    name: str, place: Path, dtype: str, progress: Progress
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model in a GGUF file, from its converted copy; that is made and kept where there is none."""
    copy = gguf_copy.find(place, dtype)
    if copy is not None:
        model, tokenizer = _read_folder(copy, dtype)
        return load.with_divisors(place, model, gguf_copy.divisors_of(copy)), tokenizer
    keep = not is_unfinished(place)  # such a file gets another name, under which no copy of it would be found
    sentence = f"Unpacking {name} (once: a converted copy is kept in the cache)." if keep else f"Unpacking {name}."
    progress(0.0, sentence)
    with ThreadPoolExecutor(1) as pool:
        parsed = pool.submit(load.gguf_tokenizer, place)
        model, divisors = load.unpack_gguf(place, dtype, lambda part: progress(0.8 * part, sentence))
        tokenizer = parsed.result()
    # Before the frequencies are divided: the copy's own are made of its config.
    if keep:
        gguf_copy.store(place, dtype, model, tokenizer, divisors, lambda part: progress(0.8 + 0.2 * part, sentence))
    return load.with_divisors(place, model, divisors), tokenizer


def _untied_notice(described: ModelConfig, decoder: LanguageDecoder) -> tuple[str, ...]:
    if not described.tied or decoder.config.tied:
        return ()
    return (
        "The config ties the output matrix to the embedding, and the weights hold another one: it is used, as "
        "transformers does since version 5; older versions leave it out.",
    )


def _unpinned(source: catalog.Source, place: Path) -> tuple[str, ...]:
    """Which commit of a model on the hub was loaded, where the user named none; its folder has that name."""
    commit = place.name
    if source.kind != "hub" or source.revision or len(commit) != 40 or set(commit) - set("0123456789abcdef"):
        return ()
    return (f"This is the hub's commit {commit[:12]}; {source.repo}@{commit} names this one for good.",)


def _static_notice(decoder: LanguageDecoder) -> tuple[str, ...]:
    if decoder.packs:
        return ()
    return (
        f"Models of the family {decoder.config.family} cannot run in Redraft's batching: texts are written by "
        "transformers' generate() in static batches, which is slower.",
    )


def decoder_of(
    model: PreTrainedModel, config: ModelConfig, place: Path, *, dtype: str = "", quantization: Quantization = ""
) -> LanguageDecoder:
    """The decoder that computes a model that was read from `place`; takes its weights over.

    Args:
        dtype: to compute in; "" for the model's.
        quantization: of the layers' matrices.

    Raises:
        ModelError: it cannot be computed.
    """
    try:
        if config.family in FAMILIES:
            wanted = load.torch_dtype(dtype) if dtype else None
            # What a layer frees goes back at once: packed matrices lie behind the gaps, and do not fill them (gpt2-xl,
            # whose matrices are transposed on the way: 5.9 GB instead of 3.9).
            return families.from_transformers(model, dtype=wanted, quantization=quantization, after_layer=memory.trim)
        from engine.models.nn import modules

        with quiet():
            return modules.from_transformers(model, config, quantization=quantization)
    except RedraftError as error:
        raise ModelError(error.what, where=str(place), next_step=error.next_step) from None
    except (TypeError, ValueError, ArithmeticError, AttributeError, LookupError, RuntimeError) as error:
        # A config can hold values of any type that transformers lets pass.
        reason = " ".join(str(error).split())[:200]
        raise ModelError(f"This model cannot be computed with: {reason}.", where=str(place)) from None


def _with_adapter(base: str, adapter: Adapter) -> str:
    import torch

    whole = hashlib.sha256(bytes.fromhex(base))
    for name in sorted(adapter.pairs):
        pair = adapter.pairs[name]
        whole.update(f"{name}|{pair.scale!r}".encode())
        for tensor in (pair.a, pair.b):
            whole.update(tensor.detach().cpu().to(torch.float32).contiguous().numpy().tobytes())
    return whole.hexdigest()
