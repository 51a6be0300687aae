"""The names of Lightbus 1.x: each is an alias that warns once, or is refused with what to write instead."""
