"""Dead letters of the whole bus: counted, found, replayed, edited, dropped; many of them by errands."""

from .acts import drop as drop
from .acts import find as find
from .acts import replay as replay
from .acts import settle as settle
from .editing import edit as edit
from .fields import as_fields as as_fields
from .filters import Filter as Filter
from .filters import Fingerprint as Fingerprint
from .pages import Page as Page
from .pages import get as get
from .pages import newest as newest
from .pages import page as page
from .sampling import Kind as Kind
from .sampling import Sample as Sample
from .sampling import sample as sample
