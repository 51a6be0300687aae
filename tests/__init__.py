import os
import signal
import sys
import threading

# Images for containers often say that nothing is kept of what is compiled. Each of some thousand processes
# would then compile all that it imports, and on a busy machine a start would take longer than a test waits.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What a shell starts in the background ignores Ctrl-C, as does all that it starts in turn; tests press it.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)
