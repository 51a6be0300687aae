"""Puts what `lightbus init --example` writes into the wheel; all else is said in pyproject.toml."""

from pathlib import Path
from shutil import copytree, ignore_patterns, rmtree

from setuptools import setup
from setuptools.command.build_py import build_py

_ROOT = Path(__file__).parent
#: The folders of the checkout that examples are taken from, and what of them nobody needs.
_FOLDERS = ("config", "examples")
_LEFT_OUT = ignore_patterns("__pycache__", "reference")


class BuildWithExamples(build_py):
    """Copies the examples beside the command; a checkout that is installed as it is has them anyway."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if not self.editable_mode:
            for name in _FOLDERS:
                target = Path(self.build_lib, "lightbus", "cli", "example_files", name)
                rmtree(target, ignore_errors=True)
                copytree(_ROOT / name, target, ignore=_LEFT_OUT)


setup(cmdclass={"build_py": BuildWithExamples})
