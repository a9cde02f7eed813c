"""Memory of the peers, as Lots treats its own: it stays in the process."""

import ctypes


def keep_freed_memory():
    """Makes glibc reuse freed blocks instead of returning them; False where there is no glibc."""
    mmap_max, trim_threshold, top_pad = -4, -1, -2
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return all([mallopt(mmap_max, 0), mallopt(trim_threshold, 2**31 - 1), mallopt(top_pad, 64 << 20)])
