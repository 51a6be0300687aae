"""The graph of the shop, as ``lightbus graph`` draws it."""

from __future__ import annotations

from pathlib import Path

from lightbus.insight.graph.declared import declared_by_all
from lightbus.insight.graph.drawings.picture import picture_of
from lightbus.insight.graph.drawings.svg import svg
from lightbus.insight.graph.model import Graph
from lightbus.manifest.load import load

ROOT = Path(__file__).parents[2]
MANIFESTS = ("config", "examples/shop/payments.yaml", "examples/shop/mail.yaml")


class ShopGraph:
    """The shop's three services, by their manifests."""

    def svg(self) -> str:
        """Return the file."""
        manifests = [load([name], unfilled=True, cwd=ROOT) for name in MANIFESTS]
        return svg(picture_of(Graph(declared_by_all(manifests))))
