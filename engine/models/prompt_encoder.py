"""A model's tokenizer and chat template without its weights: training rows can be shown before anything is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.models import chat
from engine.models.hub import adapter, embedded, gguf, load, weights
from engine.models.hub.checkpoint import LARGEST_CONFIG
from engine.models.hub.embedded import Progress, silent
from engine.models.inference.requests import Message
from engine.models.inference.token_codec import Codec


@dataclass(frozen=True)
class PromptEncoder:
    """Chats to tokens, as `LocalModel` does it.

    Args:
        name: of the model.
        chat: how its chats are written.
        codec: text to tokens and back; knows the tokens that end an answer.
    """

    name: str
    chat: chat.Chat
    codec: Codec

    def encode_pair(self, messages: Sequence[Message], answer: str) -> tuple[list[int], list[int]]:
        """Tokens of the prompt, and of the answer with the end of its turn."""
        prompt = self.chat.render(messages)
        whole = self.chat.render(messages, answer=answer)
        return self.codec.encode(prompt), self.codec.encode(whole[len(prompt) :])

    def spelled(self, tokens: Sequence[int]) -> str:
        """The text of tokens, special ones included."""
        text = self.codec.tokenizer.backend_tokenizer.decode(list(tokens), skip_special_tokens=False)
        assert isinstance(text, str)
        return text


def load_encoder(name: str, progress: Progress = silent) -> PromptEncoder:
    """The encoder of a model by its name (`engine.models.hub.catalog.resolve`).

    Raises:
        ModelError, StorageError: there is no such model, or its tokenizer cannot be read.
    """
    source = adapter.whole(name)
    if source.kind == "gguf":
        assert source.path is not None
        tokenizer = load.gguf_tokenizer(source.path)
        found = gguf.check(source.path)
        ends = _ids(found.values.get("eos_token_id"))
    else:
        if source.kind == "embedded":
            place = embedded.prepare(progress)
        elif source.kind == "hub":
            from engine.models.hub import download

            place = download.fetch(source, progress)
        else:
            assert source.path is not None
            place = source.path
        tokenizer = load.folder_tokenizer(place)
        ends = _folder_ends(place)
    chats = chat.for_tokenizer(tokenizer)
    ends |= _ids(tokenizer.eos_token_id)
    return PromptEncoder(source.name, chats, Codec(tokenizer, ends | chats.end_tokens(), chats.kept_marks()))


def _folder_ends(folder: Path) -> frozenset[int]:
    """The end tokens that a folder's configs name; `generation_config.json` goes before `config.json`."""
    for name in ("generation_config.json", "config.json"):
        if (folder / name).exists():
            found = _ids(weights.read_json(folder / name, LARGEST_CONFIG).get("eos_token_id"))
            if found:
                return found
    return frozenset()


def _ids(value: object) -> frozenset[int]:
    values = value if isinstance(value, list) else [value]
    return frozenset(each for each in values if type(each) is int and each >= 0)
