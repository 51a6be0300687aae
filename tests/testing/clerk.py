"""A bus module with a bus of its own, in the style of Lightbus 1.x."""

from __future__ import annotations

import lightbus

bus = lightbus.create({"service_name": "clerk", "apis": {"clerk": {"rpc_timeout": 3}}})
log: list[str] = []


class ClerkApi(lightbus.Api):
    class Meta:
        name = "clerk"
        auto_register = False

    def sell(self, sku: str) -> int:
        return 2 * int(bus.store.price(sku=sku))


bus.client.register_api(ClerkApi())


@bus.client.on_start()  # type: ignore[untyped-decorator]
def start(client: lightbus.BusClient) -> None:
    async def hear(event_message: lightbus.EventMessage, sku: str, count: int) -> None:
        log.append(f"heard of {sku}")

    bus.store.sold.listen(hear, listener_name="hear")


@bus.client.every(minutes=10)
def sweep() -> None:
    log.append("swept")


@bus.client.schedule("0 2 * * *", scope="service")
async def close_day() -> None:
    log.append("closed")
