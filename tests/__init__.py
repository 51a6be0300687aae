import os
import sys

# Images for containers often say that nothing is kept of what is compiled. Each of some thousand processes
# would then compile all that it imports, and on a busy machine a start would take longer than a test waits.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
