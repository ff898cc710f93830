"""Where the values of an LMDB file lie, found without touching them.

Python's binding reads one byte of every page of a value that it hands out, which fetches a whole
column from disk before its first sample is used. The pages of the tree alone say where values are.
The file's layout is that of LMDB 0.9 on a 64-bit little-endian machine (``mdb.c``: MDB_page,
MDB_node, MDB_db, MDB_meta); of any other file nothing is said.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

DATA_FILE = "data.mdb"  # LMDB's own name for it
MAGIC, VERSION = 0xBEEFC0DE, 1
BRANCH, LEAF = 0x01, 0x02  # flags of a page
BIG, TREE = 0x01, 0x02  # flags of a node: its value has pages of its own; it is a named database
NOTHING = 2**64 - 1  # root of an empty tree

_PAGE = struct.Struct("<QHHHH")  # number, padding, flags, end of the pointers, start of the nodes
_NODE = struct.Struct("<HHHH")  # size: low, high; flags; size of the key
_DATABASE = struct.Struct("<IHHQQQQQ")  # padding, flags, depth, four counts, root
_META = struct.Struct("<IIQQ")  # magic, version, address, map size

Place = tuple[int, int]


def find_places(memory: memoryview, database: str) -> dict[bytes, Place] | None:
    """Return key → (offset in the file, bytes) of every value of a named database.

    None if the file is laid out in another way, or has no such database.
    """
    try:
        size, root = _main_tree(memory)
        for key, flags, offset, length in _nodes(memory, size, root):
            if key == database.encode() and flags == TREE and length == _DATABASE.size:
                root = _DATABASE.unpack_from(memory, offset)[-1]
                return dict(_values(memory, size, root))
    except (struct.error, ValueError):
        pass
    return None


def _values(memory: memoryview, size: int, root: int) -> Iterator[tuple[bytes, Place]]:
    for key, flags, offset, length in _nodes(memory, size, root):
        if flags & ~BIG:
            raise ValueError("a node of another kind")
        if flags & BIG:
            offset = struct.unpack_from("<Q", memory, offset)[0] * size + _PAGE.size
        if offset + length > len(memory):
            raise ValueError("a value beyond the file")
        yield key, (offset, length)


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


def _nodes(memory: memoryview, size: int, root: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Yield (key, flags, offset of the data, its size) of the leaves under a page, by key."""
    if root == NOTHING:
        return
    start = root * size
    number, _, kind, end, _ = _PAGE.unpack_from(memory, start)
    if number != root or kind & 0xFF not in (BRANCH, LEAF):
        raise ValueError("a page of another kind")
    for (pointer,) in struct.iter_unpack("<H", memory[start + _PAGE.size : start + end]):
        low, high, flags, length = _NODE.unpack_from(memory, start + pointer)
        if kind & BRANCH:
            yield from _nodes(memory, size, low | high << 16 | flags << 32)
        else:
            key = start + pointer + _NODE.size
            data = key + length
            yield bytes(memory[key:data]), flags, data, low | high << 16
