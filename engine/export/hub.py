"""Uploads a run's adapter or merged model with its card to the Hugging Face hub, or says what it would upload."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EndpointError, InputError
from engine.export.base_model import run_adapter
from engine.export.model_card import model_card
from engine.models.hub import catalog, checkpoint
from engine.models.hub.adapter import CONFIG
from engine.models.hub.hf_logging import quiet
from engine.runs.folder import read_config
from engine.runs.trainings import Training, choose
from engine.secrets import redact

CARD = "README.md"
_REPO = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)


@dataclass(frozen=True)
class Upload:
    """What goes to the hub.

    Args:
        repo: "owner/name".
        folder: with the weights.
        files: name in the repository -> bytes, the card included.
        card: the text of README.md.
        base: the base model's id on the hub; "" where it is not known.
        private: whether a new repository is private.
        training: the one whose adapter is uploaded; None for a merged model where it is not known.
    """

    repo: str
    folder: Path
    files: dict[str, int]
    card: str
    base: str
    private: bool
    training: Training | None = None

    def content(self, name: str) -> bytes | Path:
        """What is uploaded under a name: bytes, or the file that holds them. The adapter's config names the base model
        as the hub knows it, so that peft finds it there."""
        if name == CARD:
            return self.card.encode()
        path = self.folder / name
        if name == CONFIG and self.base:
            values = {**json.loads(path.read_bytes()), "base_model_name_or_path": self.base}
            return (json.dumps(values, indent=2) + "\n").encode()
        return path


def plan(
    run: Path,
    repo: str,
    *,
    merged: Path | None = None,
    training_seed: int | None = None,
    private: bool = False,
) -> Upload:
    """What `push` would upload. Looks at files only; nothing is sent.

    Args:
        run: a finished run's folder.
        repo: "owner/name".
        merged: a folder that `redraft merge` wrote, to be uploaded instead of the adapter.
        training_seed: of the training whose adapter is uploaded (or was merged); None takes the first.

    Raises:
        InputError: the name is none, the run has no adapter or no report, or `merged` is no model.
        ModelError, StorageError: `merged` cannot be used.
    """
    if not _REPO.fullmatch(repo) or ".." in repo or "--" in repo:
        raise InputError("this is not a repository's name.", where=repo[:100], next_step="Write OWNER/NAME.")
    training = choose(run, training_seed) if training_seed is not None else None
    if merged is None:
        training, _ = run_adapter(run, training_seed)
        folder = run / training.adapter
    else:
        checkpoint.check_folder(merged)
        folder = merged
    files = {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.startswith(".") and path.name != CARD
    }
    card = model_card(run, training, merged=merged is not None)
    known = catalog.find(read_config(run).generator)
    base = known.repo if known else ""
    return Upload(repo, folder, {CARD: len(card.encode()), **files}, card, base, private, training)


def push(upload: Upload, *, token: str | None = None) -> str:
    """Create the repository where it is missing and upload everything as one commit; returns its address.

    Args:
        token: None takes that of `HF_TOKEN` or of `hf auth login`.

    Raises:
        InputError: there is no token, or the hub does not accept it.
        EndpointError: the hub cannot be reached or refuses the upload.
    """
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError

    token = token or get_token()
    if not token:
        raise InputError(
            "there is no token for the hub.",
            where="redraft push",
            next_step="Set HF_TOKEN, or log in once: `hf auth login`. --dry-run needs none.",
        )
    api = HfApi(token=token)
    operations = [CommitOperationAdd(name, upload.content(name)) for name in upload.files]
    try:
        with quiet():
            api.create_repo(upload.repo, private=upload.private, exist_ok=True)
            done = api.create_commit(upload.repo, operations, commit_message="Upload from Redraft")
    except HfHubHTTPError as error:
        raise _refused(error, upload.repo) from None
    except Exception as error:
        # No route, no name server, a broken connection: the hub's HTTP library has types of its own for these.
        if not isinstance(error, OSError | ValueError) and "httpx" not in type(error).__module__:
            raise
        raise EndpointError(
            f"the hub cannot be reached ({redact(' '.join(str(error).split())[:200])}).",
            where=upload.repo,
            next_step="Check the connection, or HF_ENDPOINT where it is set.",
        ) from None
    return str(done.repo_url)


def _refused(error: Exception, repo: str) -> InputError | EndpointError:
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", 0)
    if status in (401, 403):
        return InputError(
            f"the hub does not let this token write there (HTTP {status}).",
            where=repo,
            next_step="Take a token with write access to this account (HF_TOKEN or `hf auth login`).",
        )
    words = redact(" ".join(str(getattr(error, "server_message", "") or error).split())[:200])
    return EndpointError(f"the hub refused the upload (HTTP {status}): {words}.", where=repo, next_step="Try again.")


def lines(upload: Upload) -> Sequence[str]:
    """The files and their sizes, one per line."""
    return [f"{name}  {size:,} bytes" for name, size in upload.files.items()]
