"""A data set of your own: a table with paths or values, a folder of files, or a saved data set.

Raw layout: what ``raw`` points to is one of

- a CSV or TSV file in UTF-8 whose first line names its columns, or a Parquet file: a row is a
  sample, paths in it are relative to where it lies;
- a folder with a folder per class, of pictures (.jpg, .png, …), sounds (.wav, …) and arrays (.npy);
  files of one name are one sample;
- a folder that ``save_to_disk`` of Hugging Face's ``datasets`` wrote.

Stored: pictures as uint8 [3, height, width], sounds as spectrograms float32 [1, bands, times],
arrays as they are, numbers together as a vector. Everything can be said by options; ``mstgraph
new`` writes a recipe that says what it found, which is the place to read a file in your own way.
"""

from __future__ import annotations

from dataclasses import dataclass

from mstgraph.recipes import table


@dataclass
class Table(table.Table):
    """A table of your own; see the head of the file, and for the options its base."""
