"""Python values to JSON values and back: ``dump(value)`` and ``cast(value, hint)``.

Encoders are made once per class, the casters of a handler once, never per message. A value that can't be sent
or cast is an error with its path, as in ``order.lines[3].qty``.
"""

from .arguments import arguments_caster, cast, named_caster, tolerant_caster, unconverted
from .dumping import dump, dump_answer, dump_arguments
from .misfit import located, shown
from .models import losses_of
from .not_finite import is_finite, marked, stand_ins
from .reading import read
from .scalars import DECIMAL_PATTERN
from .shapes import hints_of, optional

__all__ = [
    "DECIMAL_PATTERN",
    "arguments_caster",
    "cast",
    "dump",
    "dump_answer",
    "dump_arguments",
    "hints_of",
    "is_finite",
    "located",
    "losses_of",
    "marked",
    "named_caster",
    "optional",
    "read",
    "shown",
    "stand_ins",
    "tolerant_caster",
    "unconverted",
]
