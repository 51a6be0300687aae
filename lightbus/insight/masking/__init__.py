"""What is hidden of messages before people see them."""

from .masking import Masked as Masked
from .masking import Masking as Masking
from .restoring import restore as restore
from .texts import MASK as MASK
