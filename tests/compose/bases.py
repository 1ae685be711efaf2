r"""The two images that docker-compose.yml begins with, made here, where no registry is reached.

Debian's debootstrap makes the root file systems, pip the wheels; both as this machine has them set
up. Needs root and a Docker engine:

    python tests/compose/bases.py
    python tests/compose/run.py --base nas-base:local --postgres nas-postgres:local \
        --wheels /opt/wheels
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
RELEASE = "bookworm"
PYTHON = "python3,python3-venv,python3-dev,g++,libgomp1,ca-certificates"
POSTGRES = "postgresql-15"
DOCKERFILE = """
FROM nas-postgres-root:local
ENV PATH=/usr/lib/postgresql/15/bin:/usr/sbin:/usr/bin:/sbin:/bin
ENV PGDATA=/var/lib/postgresql/data
COPY entrypoint.sh /
ENTRYPOINT ["/entrypoint.sh"]
CMD ["postgres"]
"""


def run(*words: str | Path) -> None:
    subprocess.run([str(word) for word in words], check=True)


def root(folder: Path, packages: str) -> Path:
    """A Debian with some packages."""
    run("debootstrap", "--variant=minbase", f"--include={packages}", RELEASE, folder)
    shutil.rmtree(folder / "var/cache/apt")
    return folder


def imported(folder: Path, image: str) -> None:
    with subprocess.Popen(["tar", "-C", str(folder), "-c", "."], stdout=subprocess.PIPE) as tar:
        subprocess.run(["docker", "import", "-", image], stdin=tar.stdout, check=True)


def wheels(folder: Path) -> None:
    """Everything that the Dockerfile's pip installs."""
    pinned = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    with tempfile.TemporaryDirectory() as beside:
        constraints = Path(beside) / "constraints.txt"
        constraints.write_text("\n".join(line for line in pinned if not line.startswith("#")))
        made = [sys.executable, "-m", "pip", "wheel", "--wheel-dir", folder, "-c", constraints]
        run(*made, "setuptools", "wheel", ROOT)
    for own in folder.glob("nas_service-*"):
        own.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="folder to work in, if not a temporary one")
    place = parser.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        folder = place or Path(temporary)
        python = root(folder / "python", PYTHON)
        wheels(python / "opt" / "wheels")
        imported(python, "nas-base:local")
        imported(root(folder / "postgres", POSTGRES), "nas-postgres-root:local")
        context = folder / "context"
        context.mkdir()
        shutil.copy(Path(__file__).with_name("entrypoint.sh"), context)
        (context / "Dockerfile").write_text(DOCKERFILE)
        run("docker", "build", "--tag", "nas-postgres:local", context)


if __name__ == "__main__":
    main()
