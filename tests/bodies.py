"""Samples as bodies of requests to a server."""

import io
import json

import numpy as np


def npy(array) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def as_json(samples) -> bytes:
    return json.dumps({"samples": samples}).encode()
