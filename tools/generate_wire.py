"""Write the Python code of the RPC surface from its definition, `navarch.proto`.

Run it after every change of the definition and commit what it writes::

    .venv/bin/python tools/generate_wire.py

It needs the development dependencies grpcio-tools (the compiler and Google's Python generator)
and protoc-gen-connectrpc. A test runs it into an empty folder and compares the bytes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DEFINITIONS = ROOT / "src/navarch/wire/proto"
PACKAGE = "navarch/wire/generated"
"""Where the generated modules live, under ``src``; protoc makes their imports from it."""


def plugin() -> str:
    """Find the Connect generator: beside the interpreter, else on the PATH.

    Raises `FileNotFoundError` when it is not installed.
    """
    beside = Path(sys.executable).parent
    found = shutil.which("protoc-gen-connectrpc", path=str(beside)) or shutil.which(
        "protoc-gen-connectrpc"
    )
    if found is None:
        raise FileNotFoundError("protoc-gen-connectrpc is not installed: install the dev extra")
    return found


def command(target: Path) -> list[str]:
    """The compiler's command line that writes the package under the folder `target`.

    ``-IPACKAGE=FOLDER`` lets protoc see the definitions as if they lay beside the code, so that
    the generated modules import each other by their real names.
    """
    well_known = resources.files("grpc_tools") / "_proto"
    return [
        *(sys.executable, "-m", "grpc_tools.protoc"),
        f"--plugin=protoc-gen-connectrpc={plugin()}",
        f"-I{PACKAGE}={DEFINITIONS}",
        f"-I{well_known}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--connectrpc_out={target}",
        "--connectrpc_opt=protobuf=google",
        f"{PACKAGE}/navarch.proto",
    ]


def generate(target: Path) -> None:
    """Write the generated modules under `target`, which must exist.

    Raises `subprocess.CalledProcessError` when the definition is wrong; protoc says where.
    """
    subprocess.run(command(target), check=True, cwd=ROOT)


if __name__ == "__main__":
    generate(ROOT / "src")
    print(f"written: {ROOT / 'src' / PACKAGE}")
