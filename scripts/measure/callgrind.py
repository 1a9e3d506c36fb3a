"""Runs a program under callgrind, which counts its instructions: `callgrind.py OUT PROGRAM [ARGUMENT…]`.

Since Linux 6.4, a program may ask the kernel by PR_GET_AUXV where its vDSO is, and rustix does. Valgrind before 3.22 does not know of this: it unmaps
the vDSO, the kernel still names its address, and the program is killed when it reads there. So PR_GET_AUXV fails here, by a seccomp filter, as it
would on an older kernel; then the program reads /proc/self/auxv, which Valgrind does adapt. The filter needs no privilege.
"""

import ctypes
import os
import platform
import struct
import sys

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, PR_GET_AUXV = 22, 38, 0x41555856
SECCOMP_MODE_FILTER, RET_ALLOW, RET_EINVAL = 2, 0x7FFF0000, 0x00050016
LOAD, JUMP_IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # BPF
NUMBER, FIRST_ARGUMENT = 0, 16  # places in struct seccomp_data
PRCTL = {"x86_64": 157, "aarch64": 167}


def refuse_auxv():
    """From now on, for this process and its children."""
    prctl = PRCTL.get(platform.machine())
    if not prctl:
        return
    filter = [
        (LOAD, 0, 0, NUMBER),
        (JUMP_IF_EQUAL, 0, 3, prctl),
        (LOAD, 0, 0, FIRST_ARGUMENT),
        (JUMP_IF_EQUAL, 0, 1, PR_GET_AUXV),
        (RETURN, 0, 0, RET_EINVAL),
        (RETURN, 0, 0, RET_ALLOW),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in filter))
    program = struct.pack("@HP", len(filter), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    for arguments in (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0):
        if libc.prctl(*(ctypes.c_ulong(it) if isinstance(it, int) else it for it in arguments)):
            sys.exit(f"callgrind.py: prctl {arguments[0]}: {os.strerror(ctypes.get_errno())}")


def main():
    refuse_auxv()
    out, *command = sys.argv[1:]
    os.execvp("valgrind", ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", *command])


if __name__ == "__main__":
    main()
