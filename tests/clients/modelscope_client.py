"""ModelScope's SDK as the plugin calls it: `snapshot_download` with a folder and progress callbacks.

    modelscope_client.py FOLDER SHA256 MODEL...    each MODEL has one file, pose.safetensors
    modelscope_client.py FOLDER -      MODEL       the download fails; prints what the plugin would show
    modelscope_client.py FOLDER +      MODEL       there is nothing to fetch; prints how many files came

Each model is downloaded twice: from the beginning, and again after a download that broke off in its
middle. Prints one JSON line for each download: what came, and how far the progress went.
"""

import hashlib
import json
import os
import shutil
import sys
from pathlib import Path

import modelscope
from modelscope import snapshot_download

PARTIAL = 100_000


class Progress:
    """The plugin's: a factory of per-file objects, called with a name and a size."""

    def __init__(self) -> None:
        self.done = 0
        self.size = 0
        self.ended = False

    def __call__(self, name: str, size: int) -> "Progress":
        self.size = size
        return self

    def update(self, size: int) -> None:
        self.done += size

    def end(self) -> None:
        self.ended = True


def download(model: str, folder: Path) -> Path:
    progress = Progress()
    local = snapshot_download(model_id=model, cache_dir=str(folder), progress_callbacks=[progress])
    [file] = [p for p in Path(local).rglob("*.safetensors") if p.is_file()]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    print(json.dumps({"model": model, "sha256": digest, "size": file.stat().st_size,
                      "progress": progress.done, "announced": progress.size, "ended": progress.ended}), flush=True)
    return file


def leave_a_part(model: str, folder: Path, file: Path) -> None:
    """What the SDK leaves behind when it is killed after PARTIAL bytes."""
    part = file.read_bytes()[:PARTIAL]
    if modelscope.__version__ < "1.34":
        where = folder / "._____temp" / model / file.name
    else:
        where = file.with_suffix(file.suffix + ".incomplete")
    below = [p for p in folder.iterdir()]
    for path in below:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    where.parent.mkdir(parents=True, exist_ok=True)
    where.write_bytes(part)


root, wanted, models = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
for number, model in enumerate(models):
    folder = root / str(number)
    folder.mkdir()
    if wanted == "-":
        try:
            download(model, folder)
        except Exception as error:
            print(json.dumps({"error": str(error)}), flush=True)
        continue
    if wanted == "+":
        local = snapshot_download(model_id=model, cache_dir=str(folder), progress_callbacks=[Progress()])
        came = sum(len([f for f in files if f.endswith(".safetensors")]) for _, _, files in os.walk(local))
        print(json.dumps({"came": came}), flush=True)
        continue
    leave_a_part(model, folder, download(model, folder))
    download(model, folder)
