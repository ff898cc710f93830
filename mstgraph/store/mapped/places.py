"""Where the values of an LMDB file lie, found without LMDB.

Python's binding reads one byte of every page of a value that it hands out, which fetches a whole
column from disk before its first sample is used; and LMDB trusts what it reads: a turned bit in
one of its own pages ends the process. The pages of the tree alone say where values are, and here
each step is checked against the file. The file's layout is that of LMDB 0.9 on a 64-bit
little-endian machine (``mdb.c``: MDB_page, MDB_node, MDB_db, MDB_meta).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

DATA_FILE = "data.mdb"  # LMDB's own name for it
MAGIC, VERSION = 0xBEEFC0DE, 1
SWAPPED = 0xDEC0EFBE  # the magic number of a machine with the other byte order
BRANCH, LEAF = 0x01, 0x02  # flags of a page
BIG, TREE = 0x01, 0x02  # flags of a node: its value has pages of its own; it is a named database
NOTHING = 2**64 - 1  # root of an empty tree

_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, end of the pointers, start of the nodes
_NODE = struct.Struct("<HHHH")  # size: low, high; flags; size of the key
_DATABASE = struct.Struct("<IHHQQQQQ")  # padding, flags, depth, four counts, root
_META = struct.Struct("<IIQQ")  # magic, version, address, map size

Place = tuple[int, int]


class DamagedPages(ValueError):
    """LMDB's own pages make no sense."""


def find_places(memory: memoryview, database: str) -> dict[bytes, Place] | None:
    """Return key → (offset in the file, bytes) of every value of a named database.

    None if the file is laid out in another way, which LMDB itself may know.

    Raises:
        DamagedPages: the file is of this layout, and its pages are damaged.
        KeyError: it has no such database.
    """
    if _is_of_another_layout(memory):
        return None
    try:
        size, root = _main_tree(memory)
        walk = _Walk(memory, size)
        for key, flags, offset, length in walk.nodes(root):
            if key == database.encode() and flags == TREE and length == _DATABASE.size:
                return dict(walk.values(_DATABASE.unpack_from(memory, offset)[-1]))
    except (struct.error, ValueError, OverflowError) as error:
        raise DamagedPages(str(error)) from error
    raise KeyError(database)


def _is_of_another_layout(memory: memoryview) -> bool:
    """Tell another version or byte order of LMDB from a damaged file."""
    if len(memory) < _PAGE.size + _META.size:
        return False
    magic, version, _, _ = _META.unpack_from(memory, _PAGE.size)
    return magic == SWAPPED or (magic == MAGIC and version != VERSION)


def _main_tree(memory: memoryview) -> tuple[int, int]:
    """Return the size of a page and the root of the newer of the two states in the file."""
    size = _DATABASE.unpack_from(memory, _PAGE.size + _META.size)[0]
    if size < 512 or size & (size - 1):
        raise ValueError("no size of a page")
    states = []
    for start in (0, size):
        magic, version, _, _ = _META.unpack_from(memory, start + _PAGE.size)
        if (magic, version) != (MAGIC, VERSION):
            raise ValueError("not LMDB 0.9")
        trees = start + _PAGE.size + _META.size
        root = _DATABASE.unpack_from(memory, trees + _DATABASE.size)[-1]
        transaction = struct.unpack_from("<Q", memory, trees + 2 * _DATABASE.size + 8)[0]
        states.append((transaction, root))
    return size, max(states, key=lambda state: state[0])[1]


class _Walk:
    """Goes through trees of a file; no page belongs to two of their branches.

    Args:
        memory: the file.
        size: bytes of a page.
    """

    def __init__(self, memory: memoryview, size: int):
        self._memory = memory
        self._size = size
        self._seen: set[int] = set()

    def values(self, root: int) -> Iterator[tuple[bytes, Place]]:
        """Yield (key, place) of the values under a page, by key."""
        for key, flags, offset, length in self.nodes(root):
            if flags & ~BIG:
                raise ValueError("a node of another kind")
            if flags & BIG:
                page = struct.unpack_from("<Q", self._memory, offset)[0]
                offset = page * self._size + _PAGE.size
            if offset + length > len(self._memory):
                raise ValueError("a value beyond the file")
            yield key, (offset, length)

    def nodes(self, root: int) -> Iterator[tuple[bytes, int, int, int]]:
        """Yield (key, flags, offset of the data, its size) of the leaves under a page, by key."""
        if root == NOTHING:
            return
        start, kind, end = self._page(root)
        pointers = self._memory[start + _PAGE.size : start + end]
        for (pointer,) in struct.iter_unpack("<H", pointers):
            low, high, flags, length = _NODE.unpack_from(self._memory, start + pointer)
            if kind & BRANCH:
                yield from self.nodes(low | high << 16 | flags << 32)
            else:
                key = start + pointer + _NODE.size
                data = key + length
                yield bytes(self._memory[key:data]), flags, data, low | high << 16

    def _page(self, root: int) -> tuple[int, int, int]:
        """Return where a page starts, what it is, and where its pointers end."""
        number, _, kind, end, _ = _PAGE.unpack_from(self._memory, root * self._size)
        if number != root or kind & 0xFF not in (BRANCH, LEAF) or root in self._seen:
            raise ValueError("a page of another kind")
        self._seen.add(root)
        return root * self._size, kind, end
