"""gRPC by grpc.aio: messages of protobuf in C, one channel, no interceptors."""

from __future__ import annotations

import grpc
from google.protobuf import descriptor_pb2, message_factory

from benchmarks.peers.direct import shape


def messages() -> dict[str, type]:
    """Make the classes that protoc would make of a file with two messages."""
    file = descriptor_pb2.FileDescriptorProto(name="bench.proto", package="bench", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, fields in (
        ("Credentials", {"username": kinds.TYPE_STRING, "password": kinds.TYPE_STRING}),
        ("Outcome", {"is_right": kinds.TYPE_BOOL}),
    ):
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            message.field.add(name=field, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
    return message_factory.GetMessages([file])


_made = messages()
Credentials, Outcome = _made["bench.Credentials"], _made["bench.Outcome"]


async def check_password(request, context):
    return Outcome(is_right=shape.check(request.username, request.password))


async def serve() -> None:
    server = grpc.aio.server()
    handler = grpc.unary_unary_rpc_method_handler(
        check_password,
        request_deserializer=Credentials.FromString,
        response_serializer=Outcome.SerializeToString,
    )
    methods = {"CheckPassword": handler}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench.Auth", methods),))
    server.add_insecure_port(shape.ADDRESS)
    await server.start()
    await server.wait_for_termination()


class GrpcPeer(shape.DirectPeer):
    worker = ("-m", __spec__.name)

    async def open(self) -> None:
        self.channel = grpc.aio.insecure_channel(self.address)
        self.check_password = self.channel.unary_unary(
            "/bench.Auth/CheckPassword",
            request_serializer=Credentials.SerializeToString,
            response_deserializer=Outcome.FromString,
        )

    async def close(self) -> None:
        await self.channel.close()

    async def call(self) -> object:
        return (await self.check_password(Credentials(**shape.CREDENTIALS))).is_right


if __name__ == "__main__":
    shape.main(GrpcPeer, serve())
