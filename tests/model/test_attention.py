"""Both forms of attention against a loop, and their derivatives."""

import math

import pytest
import torch
import torch.nn.functional as F

from cases import rng
from metamae.model import attention
from metamae.model.attention import attend


def queries(num=5, keys=None, seed=0):
    generator = rng(seed)
    return [
        torch.randn(3, 2, n, 4, generator=generator, dtype=torch.float64, requires_grad=True)
        for n in (num, keys or num, keys or num)
    ]


def padded(keys=5):
    padding = torch.zeros(3, keys, dtype=torch.bool)
    padding[0, -2:] = True
    padding[1, 1] = True
    return padding


def slow_attend(q, k, v, padding):
    out = torch.zeros(*q.shape[:-1], v.shape[-1], dtype=q.dtype)
    B, heads, N, _ = q.shape
    for b in range(B):
        there = [m for m in range(k.shape[2]) if padding is None or not padding[b, m]]
        for h in range(heads):
            for n in range(N):
                weight = [math.exp(q[b, h, n] @ k[b, h, m] / math.sqrt(q.shape[-1])) for m in there]
                for w, m in zip(weight, there, strict=True):
                    out[b, h, n] += w / sum(weight) * v[b, h, m]
    return out


@pytest.fixture(params=["explicit", "explicit, few keys", "fused"])
def form(request, monkeypatch):
    """All forms, whatever the number of keys."""
    monkeypatch.setattr(attention, "FEW_KEYS", 99 if "few" in request.param else 0)
    if request.param == "fused":
        monkeypatch.setattr(attention, "LONG", 0)
    return request.param


@pytest.mark.parametrize("padding", [None, padded(6)], ids=["whole", "padded"])
def test_attention_against_a_loop(form, padding):
    q, k, v = queries(4, 6)
    with torch.no_grad():
        expected = slow_attend(q, k, v, padding)
    torch.testing.assert_close(attend(q, k, v, padding, twice=False), expected)


@pytest.mark.parametrize("padding", [None, padded()], ids=["whole", "padded"])
def test_all_forms_agree_with_torch_in_value_and_gradient(form, padding):
    q, k, v = queries()
    there = None if padding is None else ~padding[:, None, None, :]
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=there)
    ours = attend(q, k, v, padding, twice=True)
    torch.testing.assert_close(ours, theirs)
    weight = torch.randn(ours.shape, generator=rng(1), dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad((ours * weight).sum(), (q, k, v)),
        torch.autograd.grad((theirs * weight).sum(), (q, k, v)),
        strict=True,
    ):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("few", [0, 99])
@pytest.mark.parametrize("padding", [None, padded()], ids=["whole", "padded"])
def test_second_derivative_is_right(few, monkeypatch, padding):
    monkeypatch.setattr(attention, "FEW_KEYS", few)

    def twice(*qkv):
        return attend(*qkv, padding, twice=True)

    assert torch.autograd.gradcheck(twice, queries(), fast_mode=True)
    assert torch.autograd.gradgradcheck(twice, queries(), fast_mode=True)


def test_long_sequences_can_be_differentiated_twice_only_if_asked(monkeypatch):
    """Why `twice` exists: the fused kernel fails, and only in the second backward pass."""

    def second_derivative(twice):
        # The kernel whose second derivative is missing is taken in float32 only.
        q, k, v = (x.detach().float().requires_grad_() for x in queries(400))
        out = attend(q, k, v, None, twice=twice)
        (g,) = torch.autograd.grad(out.square().sum(), q, create_graph=True)
        g.square().sum().backward()
        return q.grad

    assert second_derivative(twice=True).isfinite().all()
    with pytest.raises(RuntimeError, match="not implemented"):
        second_derivative(twice=False)


@pytest.mark.parametrize("twice", [False, True])
def test_a_row_of_nothing_but_padding_is_no_nan(form, twice):
    q, k, v = queries()
    padding = torch.zeros(3, 5, dtype=torch.bool)
    padding[1] = True
    out = attend(q, k, v, padding, twice=twice)
    assert out.isfinite().all()
    for gradient in torch.autograd.grad(out.sum(), (q, k, v)):
        assert gradient.isfinite().all()


@pytest.mark.parametrize("twice", [False, True])
def test_padding_is_never_attended_to(form, twice):
    q, k, v = queries()
    out = attend(q, k, v, padded(), twice=twice)
    k2, v2 = (x.detach().masked_fill(padded()[:, None, :, None], 7.0) for x in (k, v))
    torch.testing.assert_close(attend(q, k2, v2, padded(), twice=twice), out)


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("width", [8, 7, 5])
@pytest.mark.parametrize(("queries", "keys"), [(9, 9), (3, 9), (17, 5), (16, 21), (16, 16)])
def test_what_is_looked_at_is_the_same_at_every_place_of_a_batch(queries, keys, width, gaps):
    B = 64
    draws = rng()
    # As a block cuts them out of one product: heads stand behind tokens.
    q, k, v = (
        torch.randn(1, n, 2, width, generator=draws).repeat(B, 1, 1, 1).transpose(1, 2)
        for n in (queries, keys, keys)
    )
    padding = (torch.arange(keys) >= keys - 2).expand(B, keys) if gaps else None
    with torch.no_grad():
        found = attend(q, k, v, padding, twice=False)
    assert torch.equal(found, found[:1].expand_as(found))
    torch.testing.assert_close(found, attend(q, k, v, padding, twice=True))


@pytest.mark.parametrize("keys", [5, 40])
def test_no_scores_are_kept_where_nothing_is_learnt(keys, monkeypatch):
    q, k, v = queries(keys)
    expected = attend(q, k, v, None, twice=False)

    def refused(*tensors):
        raise AssertionError("the explicit form was used")

    monkeypatch.setattr(attention, "_explicit", refused)
    with torch.no_grad():
        torch.testing.assert_close(attend(q, k, v, None, twice=False), expected)
    with pytest.raises(AssertionError, match="explicit"):
        attend(q, k, v, None, twice=False)
