"""Certificates that sign themselves, for servers of tests that speak TLS."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def make_certificate(folder: Path, name: str, names: str = "DNS:localhost,IP:127.0.0.1") -> None:
    """Write ``{name}.key`` and ``{name}.pem``.

    Args:
        folder: Where to.
        name: Of the files, and of whom it is about.
        names: By what its holder may be called, as openssl writes it.
    """
    about = ["-days", "2", "-subj", f"/CN={name}", "-addext", f"subjectAltName={names}"]
    files = ["-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.pem"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *about, *files]
    subprocess.run(command, check=True, capture_output=True)


def can_make_certificates() -> bool:
    """Whether openssl is installed."""
    return shutil.which("openssl") is not None
