import asyncio
import io
import json
import pickle
import socket
import sys

import numpy as np
import pytest

from bodies import as_json, npy
from command import metamae, refused
from metamae import ConfigError, load
from metamae.uses.serve.protocol import JSON, NPY, Refusal
from metamae.uses.serve.serve import Limits, Service, build_app, serve


async def parts(body):
    yield body[:7]
    yield body[7:]


def answer(service, media, accept, body):
    return asyncio.run(service.embed(media, accept, parts(body)))


@pytest.fixture
def service(runs):
    return Service(load(runs / "series"), Limits(samples=10))


@pytest.fixture
def x(data):
    return np.load(data / "series.npz")["X"][:6]


def refusal(service, body, media=NPY) -> Refusal:
    with pytest.raises(Refusal) as caught:
        answer(service, media, "", body)
    return caught.value


def test_the_vectors_are_those_of_the_encoder(service, x):
    expected = service.pretrained.embed(x)
    assert np.array_equal(np.load(io.BytesIO(answer(service, NPY, NPY, npy(x))[1])), expected)
    for media, body in ((NPY, npy(x)), (JSON, as_json(x.tolist()))):
        kind, given = answer(service, media, NPY, body)
        assert kind == NPY
        # JSON has no float32: its samples are scaled in float64.
        assert np.allclose(np.load(io.BytesIO(given)), expected, atol=1e-6)
        kind, given = answer(service, media, "*/*", body)
        assert kind == JSON
        assert np.allclose(json.loads(given)["vectors"], expected, atol=1e-6)


def test_texts_and_tables_come_as_json(runs):
    words = Service(load(runs / "words"), Limits())
    _, given = answer(words, JSON, NPY, as_json(["ACGT", "AAC"]))
    assert len(np.load(io.BytesIO(given))) == 2
    table = Service(load(runs / "table"), Limits())
    rows = {"a": [0.5, 1], "b": [None, 2], "c": ["red", "blue"]}
    _, given = answer(table, JSON, NPY, as_json(rows))
    assert np.isfinite(np.load(io.BytesIO(given))).all()
    assert "'b' is missing" in str(refusal(table, as_json({"a": [1], "c": ["red"]}), JSON))
    assert "must be an object of fields" in str(refusal(table, as_json([1, 2]), JSON))


def test_a_path_is_a_text_and_nothing_else(runs, service, data, tmp_path, monkeypatch):
    words = Service(load(runs / "words"), Limits())
    _, before = answer(words, JSON, NPY, as_json(["ACGT"]))
    (tmp_path / "ACGT").write_text("GGGGGG\nCC\n")
    monkeypatch.chdir(tmp_path)
    assert answer(words, JSON, NPY, as_json(["ACGT"])) == (NPY, before)
    assert refusal(service, as_json(str(data / "series.npz")), JSON).status == 400
    assert refusal(service, as_json([str(data / "series.npz")]), JSON).status == 422


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no array",
        pickle.dumps(Bomb()),
        npy(np.zeros((2, 2, 16)))[:-8],
        npy(np.zeros((2, 2, 16))) + b"more",
        npy(np.zeros((1,), np.uint8)).replace(b"(1,)", b"(9999999999,)"),
        npy(np.array(3.0)),
        npy(np.array(["a"])),
    ],
)
def test_broken_arrays_are_the_clients_fault(service, body):
    assert refusal(service, body).status == 400


def test_objects_are_not_unpickled(service):
    stream = io.BytesIO()
    np.save(stream, np.array([Bomb()], dtype=object), allow_pickle=True)
    error = refusal(service, stream.getvalue())
    assert error.status == 400
    assert "plain numbers" in str(error)


@pytest.mark.parametrize(
    "body", [b"{", b"[1]", b"{}", b"[" * 100_000, as_json([]), as_json([[1, "a"], [2]]), b"\xff"]
)
def test_broken_json_is_the_clients_fault(service, body):
    assert refusal(service, body, JSON).status == 400


def test_limits(runs, service, x):
    error = refusal(service, npy(np.zeros((11, 2, 16))))
    assert (error.status, "at most 10 samples; got 11" in str(error)) == (413, True)
    assert refusal(service, npy(x), "text/csv").status == 415
    error = refusal(service, npy(np.zeros((2, 3, 16))))
    assert error.status == 422
    slow = Service(service.pretrained, Limits(seconds=1e-9))
    assert refusal(slow, npy(x)).status == 503
    with pytest.raises(ConfigError, match=r"Serve\.samples"):
        Limits(samples=0)
    with pytest.raises(ConfigError, match=r"Serve\.seconds must be above 0"):
        Limits(seconds=0)
    with pytest.raises(ConfigError, match=r"Serve\.wait must be a number between 0 and 1000"):
        Limits(wait=-1)


def test_one_that_fails_does_not_block_the_next(service, x):
    assert refusal(service, npy(np.zeros((2, 3, 16)))).status == 422
    assert len(np.load(io.BytesIO(answer(service, NPY, NPY, npy(x))[1]))) == 6


def test_missing_libraries_are_named(runs, service, monkeypatch):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(ConfigError, match=r"metamae serve needs.*'fastapi'.*metamae\[serve\]"):
        build_app(service)
    with pytest.raises(ConfigError, match=r"'uvicorn'.*metamae\[serve\]"):
        serve(runs / "series")
    assert "metamae[serve]" in refused(metamae("serve", runs / "series"))


@pytest.mark.filterwarnings("ignore")  # FastAPI's test client warns of its own libraries
def test_the_application(runs, x):
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    client = pytest.importorskip("fastapi.testclient", reason="its client is not installed")
    service = Service(load(runs / "series"), Limits(bytes=5000))
    with client.TestClient(build_app(service)) as web:
        assert web.get("/health").json()["status"] == "ok"
        told = web.get("/schema").json()
        assert told["fields"] == ["X"]
        assert told["most_bytes"] == 5000
        headers = {"content-type": NPY, "accept": NPY}
        found = web.post("/embed", content=npy(x), headers=headers)
        assert found.status_code == 200
        assert found.headers["content-type"] == NPY
        assert np.array_equal(np.load(io.BytesIO(found.content)), service.pretrained.embed(x))
        found = web.post("/embed", content=npy(np.zeros((99, 2, 16))), headers=headers)
        assert found.status_code == 413
        assert "5000 bytes" in found.json()["error"]
        found = web.post("/embed", json={"samples": "/etc/passwd"})
        assert (found.status_code, "error" in found.json()) == (400, True)
        told = web.get("/openapi.json").json()["paths"]["/embed"]["post"]
        assert set(told["requestBody"]["content"]) == {NPY, JSON}
        assert {"400", "408", "413", "415", "422", "503"} <= set(told["responses"])
        assert web.get("/docs").status_code == 404


def test_an_address_that_is_taken_is_named(runs):
    pytest.importorskip("fastapi", reason="the extra 'serve' is not installed")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = refused(metamae("serve", runs / "series", "--port", port))
    assert f"got '127.0.0.1' and {port}" in message
    assert "--port 0 would do" in message
