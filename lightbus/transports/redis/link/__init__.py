"""Bytes out, replies in: connections, the pipe, deadlines and refusals."""
