"""What a format is, and what an exported model can be asked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from qkv.run import Run


class Format(ABC):
    """Writes a run for another program, and asks that program. Abstract.

    name: as `qkv export --to` has it. extra: what `pip install 'qkv[EXTRA]'` brings. packages:
    those that must be importable.
    """

    name: str
    extra: str
    packages: tuple[str, ...]

    def require(self) -> None:
        """Find the packages.

        Raises:
            ValueError: one is not installed; names the command that installs it.
        """
        for package in self.packages:
            try:
                import_module(package)
            except ImportError:
                raise ValueError(
                    f"the export to {self.name} needs the package {package}: "
                    f"pip install 'qkv[{self.extra}]'"
                ) from None

    @abstractmethod
    def refuse(self, run: Run) -> None:
        """Refuse what the format cannot express.

        Raises:
            ValueError: naming the key of the config.
        """

    @abstractmethod
    def write(self, run: Run, folder: Path) -> dict[str, Any]:
        """Write the model, and return what a program must know to run it, as plain values."""

    @abstractmethod
    def usage(self, run: Run) -> str:
        """Return a few lines of Python that run what was written."""

    @abstractmethod
    def decode(
        self, run: Run, folder: Path, sources: Sequence[Sequence[int]], longest: int
    ) -> list[tuple[int, ...]]:
        """Search greedily, as one batch, with what was written.

        Args:
            sources: ids without the end symbol.
            longest: of any output, the end symbol counted.

        Returns: ids without the end symbol.
        """

    @abstractmethod
    def score(
        self,
        run: Run,
        folder: Path,
        sources: Sequence[Sequence[int]],
        targets: Sequence[Sequence[int]],
    ) -> list[float]:
        """Return log p(target, end symbol | source) by what was written, as one batch."""
