"""Files and folders of many arrays, such as HDF5 and Zarr, of which each may be a field."""

from metamae.data.stores.fields import CHUNK_BYTES, Stored, columns_of

__all__ = ["CHUNK_BYTES", "Stored", "columns_of"]
