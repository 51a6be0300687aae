"""The bounded pool of threads in which synchronous code runs."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any
from weakref import WeakSet

from lightbus.runtime.cancellation import withstand

from .native import replaced_by, start_thread

#: Threads are started as they are needed, up to this many in a process.
MAX_THREADS = 64


class HandlerPool:
    """Runs handlers that are plain functions, so that they may block.

    Its own parameters have no names for callers, who pass arguments of the user's by theirs.
    """

    def __init__(self) -> None:
        self._executor: ThreadPoolExecutor | None = None
        self._in_threads: set[object] = set()
        #: Makes what each function runs in, in its thread; None where that is nothing.
        self.around: Callable[[], AbstractContextManager[None]] | None = None
        _pools.add(self)

    @property
    def running(self) -> int:
        """How many functions run in threads just now."""
        return len(self._in_threads)

    def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> asyncio.Future[Any]:
        """Call a function in a thread, with the caller's context variables.

        Returns:
            A future of its result or its error.
        """
        context = contextvars.copy_context()
        call = functools.partial(context.run, self._guarded, function, *args, **kwargs)
        if replaced_by() is not None:
            return _in_thread_of_its_own(call)
        return asyncio.get_running_loop().run_in_executor(self._threads(), call)

    def start(self, run: Callable[[], None]) -> None:
        """Run in a thread what tells of its end by itself, and raises nothing."""
        if replaced_by() is not None:
            start_thread(run, "lightbus")
        else:
            self._threads().submit(run)

    @contextmanager
    def in_thread(self) -> Iterator[None]:
        """Count a thread as running, and surround what it does."""
        token = object()
        self._in_threads.add(token)
        try:
            if self.around is None:
                yield
            else:
                with self.around():
                    yield
        finally:
            self._in_threads.discard(token)

    async def invoke(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function of either kind: await it, or run it in a thread.

        Returns:
            Its result.
        """
        return await self.call(inspect.iscoroutinefunction(function), function, *args, **kwargs)

    async def call(self, is_async: bool, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Call a function whose kind is known: an async one here, any other in a thread.

        If a plain function returns an awaitable, that is awaited here: it may be a decorator that hides an
        ``async`` function.

        Returns:
            Its result.
        """
        await withstand()  # User code that ran before this one must not cancel it.
        try:
            if is_async:
                return await function(*args, **kwargs)
            result = await self.run(function, *args, **kwargs)
            return await result if inspect.isawaitable(result) else result
        finally:
            await withstand()

    def close(self) -> None:
        """Take no more work; what runs goes on, but is not waited for."""
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)
            self._executor = None

    def forget(self) -> None:
        """After ``fork()``: the threads are not there any more."""
        self._executor = None
        self._in_threads = set()

    def _threads(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(MAX_THREADS, thread_name_prefix="lightbus")
        return self._executor

    def _guarded(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        with self.in_thread():
            try:
                return function(*args, **kwargs)
            except StopIteration as e:
                # A future refuses to carry it, and would leave its caller waiting for ever.
                raise RuntimeError(f"{function!r} raised StopIteration") from e


def _in_thread_of_its_own(call: Callable[[], Any]) -> asyncio.Future[Any]:
    """Call in a new thread, if gevent has replaced those of the pool. It is rare, so none is kept."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[Any] = loop.create_future()

    def settle(set_outcome: Callable[[Any], None], outcome: Any) -> None:
        if not future.done():
            set_outcome(outcome)

    def run() -> None:
        try:
            outcome, set_outcome = call(), future.set_result
        except BaseException as e:
            outcome, set_outcome = e, future.set_exception
        loop.call_soon_threadsafe(settle, set_outcome, outcome)

    start_thread(run, "lightbus")
    return future


_pools: WeakSet[HandlerPool] = WeakSet()


def _forget_all() -> None:
    for pool in list(_pools):
        pool.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
