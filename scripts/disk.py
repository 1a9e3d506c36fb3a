"""A disk with a cache that forgets: what an emulated terminal's power cut does to it.

QEMU reaches it by the NBD protocol over a Unix socket. What is written is read back at once, but it is safe only after the flush that
follows. When the power is cut, of everything that was written since the last flush some is there and some is not: each sector by itself, in
whatever order, as it is with eMMC and SD cards. A sector is 4096 bytes, and the disk says so: ext4 takes it that its superblock, which is larger
than 512, is written as a whole.
"""

import os
import socket
import struct
import threading

SECTOR = 4096
OPTION, REPLY, REQUEST, SIMPLE = 0x49484156454F5054, 0x3E889045565A9, 0x25609513, 0x67446698
GO, ABORT, ACK, INFO, UNSUPPORTED = 7, 2, 1, 3, 0x80000001
READ, WRITE, DISCONNECT, FLUSH = range(4)
FUA = 1  # flag of a write: it is safe when it is answered
CAN = 1 | 4 | 8  # flags of the export: has flags, takes flushes and FUA


class Disk:
    """Serves an image until `cut`. Sectors that were written since the last flush are in `unsafe`. `at_write` is called in place of answering the
    next write, which may by then be on the disk or not."""

    def __init__(self, image, path, random):
        self.image, self.path, self.random = os.open(image, os.O_RDWR), path, random
        self.size = os.fstat(self.image).st_size
        self.unsafe, self.forgotten, self.at_write = {}, 0, None
        path.unlink(missing_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(1)
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def url(self):
        return f"nbd+unix:///?socket={self.path}"

    def cut(self):
        """After QEMU was killed: what was not flushed is there or not, as it happens."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        kept = {at: data for at, data in self.unsafe.items() if self.random.random() < 0.5}
        self.forgotten = len(self.unsafe) - len(kept)
        for at, data in kept.items():
            os.pwrite(self.image, data, at * SECTOR)
        os.close(self.image)

    def serve(self):
        try:
            connection = self.listener.accept()[0]
        except OSError:
            return
        try:
            with connection, connection.makefile("rb") as stream:
                if self.negotiate(connection, stream):
                    self.transmit(connection, stream)
        except (OSError, EOFError):
            pass  # QEMU is gone

    def negotiate(self, connection, stream):
        connection.sendall(b"NBDMAGIC" + struct.pack(">QH", OPTION, 1 | 2))
        take(stream, 4)
        while True:
            magic, option, length = struct.unpack(">QII", take(stream, 16))
            assert magic == OPTION
            take(stream, length)

            def reply(kind, data=b"", option=option):
                connection.sendall(struct.pack(">QIII", REPLY, option, kind, len(data)) + data)

            if option == GO:
                reply(INFO, struct.pack(">HQH", 0, self.size, CAN))
                reply(ACK)
                return True
            reply(ACK if option == ABORT else UNSUPPORTED)
            if option == ABORT:
                return False

    def transmit(self, connection, stream):
        while True:
            magic, flags, kind, handle, at, length = struct.unpack(">IHHQQI", take(stream, 28))
            assert magic == REQUEST
            data = b""
            if kind == READ:
                data = self.read(at, length)
            elif kind == WRITE:
                content = take(stream, length)
                if at % SECTOR or length % SECTOR or at + length > self.size:
                    raise OSError("no whole sectors of this disk")
                for nth in range(length // SECTOR):
                    self.unsafe[at // SECTOR + nth] = content[nth * SECTOR : (nth + 1) * SECTOR]
                if self.at_write:
                    return self.at_write()
                if flags & FUA:
                    self.settle(range(at // SECTOR, (at + length) // SECTOR))
            elif kind == FLUSH:
                self.settle(list(self.unsafe))
            elif kind == DISCONNECT:
                return
            error = 0 if kind in (READ, WRITE, FLUSH) else 22
            connection.sendall(struct.pack(">IIQ", SIMPLE, error, handle) + data)

    def read(self, at, length):
        data = bytearray(os.pread(self.image, length, at))
        if self.unsafe:
            first = at // SECTOR
            for sector in range(first, (at + length + SECTOR - 1) // SECTOR):
                if sector in self.unsafe:
                    place = sector * SECTOR - at
                    data[place : place + SECTOR] = self.unsafe[sector]
        return bytes(data[:length])

    def settle(self, sectors):
        """Writes these to the image: no power cut takes them away now. (The image's own machine is not the one that fails.)"""
        for sector in sectors:
            os.pwrite(self.image, self.unsafe.pop(sector), sector * SECTOR)


def take(stream, length):
    data = stream.read(length)
    if len(data) != length:
        raise EOFError
    return data
