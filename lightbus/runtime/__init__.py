"""asyncio itself: time, cancellation, deadlines, threads, the way from synchronous code. It knows no bus."""
