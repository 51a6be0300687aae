"""The shop whose orders are announced by way of an outbox."""

from __future__ import annotations

from lightbus import Api, Event, Parameter


class ShopApi(Api):
    """Announces orders."""

    placed = Event(parameters=(Parameter("number", int), Parameter("note", str, default="")))
    paid = Event(parameters=("number",))

    class Meta:
        """Its name."""

        name = "shop"
        auto_register = False
