"""What `scripts/powercut ubifs` does: the same as `scripts/powercut`, on UBIFS on a raw NAND flash.

The flash is the kernel's nandsim. It lies in the terminal's memory, so QEMU is not killed: from some moment on the flash takes no more
writes, punchd is killed, and everything down to UBI is taken off and put on again. There are four kinds of such a moment: see CUTS. UBIFS
checks itself when it is mounted after that. At the end it prints what a punch writes to the flash.
"""

import re
import time

import powercut
from terminal import Failure, FlashImages, expect, wait

PAGE = 2048
LONGEST_PRESS = 15  # seconds for a cut that the kernel chooses
SINGLE, IN_BURSTS = 400, 3_000  # punches whose pages are counted

AT_ONCE = "echo 1 >$fs/ro_error"
CUTS = {
    "between two writes": AT_ONCE,
    # The same, and the page that punchd's file would have got next is half written.
    "in a write of the store": AT_ONCE,
    # UBIFS spoils a write of its choice, most often of its master node, its index or its tables.
    "in a commit of UBIFS": "echo 1 >$fs/tst_recovery; press",
    # UBI stops where it has erased a block, or is to use it, and its header is not yet there.
    "before a block's header": "echo 1 >$ubi/tst_emulate_power_cut_min; echo 9 >$ubi/tst_emulate_power_cut_max; echo 3 >$ubi/tst_emulate_power_cut; press",
}
# press: files come and go until the cut has come; if it does not come soon, it is one between two writes.
WORDS = f"""fs=/sys/kernel/debug/ubifs/ubi0_0 ubi=/sys/kernel/debug/ubi/ubi0
press() {{
    until=$(($(date +%s) + {LONGEST_PRESS}))
    while [ $(cat $fs/ro_error) = 0 ] && [ $(date +%s) -lt $until ]; do
        dd if=/dev/urandom of=/var/lib/punchd/files/junk bs=4k count=50 2>/dev/null
        sync
    done
    {AT_ONCE}
}}
"""


class FlashTrial(powercut.Trial):
    images_of = FlashImages
    upgrades_in = 0  # the program does not lie on the flash

    def boot(self):
        if not self.machine:
            super().boot()
            self.machine.words = WORDS
            self.machine.shell(WORDS)
            return
        before, shell = len(self.server.requests("handshake")), self.machine.shell
        shell("dmesg -c >/dev/null; echo 1 >/sys/kernel/debug/ubifs/chk_fs")
        shell("flash attach; mount -t ubifs -o noatime ubi0:data /var/lib/punchd; echo 0 >/sys/kernel/debug/ubifs/chk_fs")
        # What UBIFS says while it recovers is no error; that it is not mounted then, or for reading only, is one.
        # The kernel's dumps of pages are left out of the reason.
        mounted = shell("grep -q ' ubifs rw,' /proc/mounts || dmesg | grep -v '[0-9a-f]\\{8\\}: ' | tail -n 50; dmesg -c >/dev/null")
        expect(not mounted, f"UBIFS is not mounted: {mounted}")
        shell("/etc/init.d/S60punchd start")
        try:
            wait("a handshake", lambda: len(self.server.requests("handshake")) > before)
        except Failure as failure:
            raise Failure(f"{failure}; {shell('tail -n 5 /run/messages; ls -l /var/lib/punchd')}") from None

    def cut(self):
        kind, shell = self.random.choice(list(CUTS)), self.machine.shell
        shell(f"dmesg -c >/dev/null; {CUTS[kind]}; kill -9 $(cat /run/punchd/*.pid) $(pidof punchd driver); rm -rf /run/punchd")
        where = "".join(re.findall(r"failing in .*|emulating a power cut", shell("dmesg"))[-1:])
        shell("until umount /var/lib/punchd; do sleep 0.1; done; flash detach")
        if kind == "in a write of the store":
            where = shell(f"flash tear {self.random.choice(['', 'noecc'])}")
        if CUTS[kind] != AT_ONCE and not where:
            kind = "between two writes"
        print(f"   {kind}{where and ': '}{where}", flush=True)

    def whole_file_system(self):
        errors = self.machine.shell("dmesg | grep -E '(UBIFS|ubi0) error'")
        expect(not errors, f"the file system is damaged: {errors}")

    def measure(self):
        """Pages that are written for a punch, and what they come to."""
        for name, count, group in [("singly", SINGLE, 1), ("in bursts of ten", IN_BURSTS, 10)]:
            for network, words in [(False, "while the server is away"), (True, "with the uploads")]:
                self.machine.network(network)
                time.sleep(3)
                there, pages, blocks = self.punches(), *self.written()
                self.machine.shell(f"driver {count} {group} {200 if network else 20} {self.first} >/run/answered", timeout=1800)
                self.first += 1_000_000
                expect(self.machine.number("wc -l </run/answered") == count, "not all were answered")
                if network:
                    wait("all punches at the server", lambda: self.punches() >= there + count)
                    time.sleep(2)
                pages, blocks = (now - then for now, then in zip(self.written(), [pages, blocks]))
                print(
                    f"   written per punch, {name}, {words}: {pages / count:.2f} pages, {pages * PAGE / count:.0f} bytes; {blocks} blocks erased",
                    flush=True,
                )
                self.machine.network(True)
                wait("all punches at the server", lambda: self.punches() >= there + count)

    def punches(self):
        return self.server.get("/state")["punches"]

    def written(self):
        """Pages that were written so far, and blocks that were erased."""
        text = self.machine.shell("sync; cat /sys/kernel/tracing/kprobe_profile")
        return [int(re.search(rf"{name}\s+(\d+)", text)[1]) for name in ["page", "block"]]


if __name__ == "__main__":
    powercut.main(FlashTrial)
