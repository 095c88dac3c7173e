"""Make the environment that peers run in, beside this file: `python benchmarks/peers/install.py`.

A peer's requirements do not fit ours (memorizing-transformers-pytorch wants faiss-gpu and does not
name einops-exts), so it is installed without them, what it imports is installed by name, and
nothing of it enters the environment of memformer. torch, faiss-cpu, einops and numpy have the
versions of constraints.txt, as ours.
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
ENVIRONMENT = HERE / ".venv"
CONSTRAINTS = HERE.parents[1] / "constraints.txt"
PEER = "memorizing-transformers-pytorch==0.4.1"
IMPORTED = (
    "einops",
    "einops-exts==0.0.4",
    "faiss-cpu",
    "filelock==4.2.12",
    "joblib==1.5.3",
    "numpy",
)


def python() -> Path:
    """The environment's interpreter, whether it is there or not."""
    folder, name = ("Scripts", "python.exe") if sys.platform == "win32" else ("bin", "python")
    return ENVIRONMENT / folder / name


def main() -> None:
    pins = CONSTRAINTS.read_text().splitlines()
    torch = next(pin for pin in pins if pin.startswith("torch=="))
    venv.create(ENVIRONMENT, with_pip=True, clear=True)
    pip = [str(python()), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    # torch alone and by exact version: a range may resolve to a build with gigabytes of CUDA
    for what in ([torch], ["-c", str(CONSTRAINTS), *IMPORTED], ["--no-deps", PEER]):
        subprocess.run([*pip, *what], check=True)
    subprocess.run([str(python()), "-c", "import memorizing_transformers_pytorch"], check=True)
    print(ENVIRONMENT)


if __name__ == "__main__":
    main()
