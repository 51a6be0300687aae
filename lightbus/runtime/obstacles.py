"""The obstacles that keep a process from its work at present; ``/readyz`` shows them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator


class Obstacles:
    """The obstacles of one bus, each under a key; may be read from any thread."""

    def __init__(self) -> None:
        self._said: dict[Hashable, str] = {}

    def meet(self, key: Hashable, sentence: str) -> bool:
        """Note an obstacle, or what is known of it by now.

        Args:
            key: Names it, for :meth:`clear`; such as a tuple of a kind and a name.
            sentence: Says what does not work, why, and what helps.

        Returns:
            Whether it is news, so that the log tells of it once.
        """
        is_news = key not in self._said
        self._said[key] = sentence
        return is_news

    def clear(self, key: Hashable) -> bool:
        """Forget an obstacle; tell whether it was there."""
        return self._said.pop(key, None) is not None

    def __iter__(self) -> Iterator[str]:
        # Several connections to the same Redis, for instance, say the same.
        return iter(dict.fromkeys(list(self._said.values())))
