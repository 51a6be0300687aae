"""From the text of a manifest to one frozen :class:`Manifest`."""

from .load import load
from .model import Manifest
from .problems import InvalidManifest, Place, Problem, render

__all__ = ["InvalidManifest", "Manifest", "Place", "Problem", "load", "render"]
