"""FastAPI on uvicorn, called by aiohttp: uvloop, httptools, connections that are kept, no access log."""

from __future__ import annotations

from pathlib import Path

import aiohttp
from fastapi import FastAPI
from pydantic import BaseModel

from benchmarks.peers.direct import shape

app = FastAPI()


class Credentials(BaseModel):
    username: str
    password: str


@app.post("/check_password")
async def check_password(credentials: Credentials) -> bool:
    return shape.check(credentials.username, credentials.password)


class FastApiPeer(shape.DirectPeer):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        host, _, port = self.address.partition(":")
        self.url = f"http://{self.address}/check_password"
        self.worker = (
            *("-m", "uvicorn", f"{__spec__.name}:app", "--host", host, "--port", port),
            *("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"),
        )

    async def open(self) -> None:
        self.session = aiohttp.ClientSession()

    async def close(self) -> None:
        await self.session.close()

    async def call(self) -> object:
        async with self.session.post(self.url, json=shape.CREDENTIALS) as response:
            return await response.json()


if __name__ == "__main__":
    shape.main(FastApiPeer)
