"""In tests, annotations are checked: types, the number of axes, and that axes of one name have one length."""

import jaxtyping
import pytest
import torch
from support import checks

import hiercl
from hiercl.runtime.types import Float

A, B = torch.rand(2, 3), torch.rand(3, 2)


def scaled(a: Float[torch.Tensor, "n d"], b: Float[torch.Tensor, "n d"], by: float = 1.0) -> Float[torch.Tensor, "n d"]:
    return a[:1] if by == 0 else by * (a + b.reshape(a.shape))


def named(number: int, name: "str | None" = None) -> str:
    return name or (3 if number == 3 else str(number))  # pyright: ignore[reportReturnType]


@pytest.mark.parametrize("wrong", [(A, B), (A[0], A[0]), (A.long(), A), (A, A, "1"), (A, A, 0.0), (A, None)])
def test_functions_of_arrays(wrong):
    checked = checks._checked(scaled, typechecker=None)
    assert torch.equal(checked(A, A, by=2.0), 4 * A)
    assert torch.equal(checked(B, B), 2 * B), "axes have another length in another call"
    with pytest.raises(TypeError):
        checked(*wrong)


@pytest.mark.parametrize("wrong", [("1",), (1, 2), (3,)])
def test_other_functions(wrong, as_a_user):
    checked = checks._checked(named, typechecker=None)
    assert checked(*wrong), "as a user has it"
    jaxtyping.config.update("jaxtyping_disable", False)
    assert checked(1) == "1" and checked(1, name="one") == "one"
    with pytest.raises(TypeError):
        checked(*wrong)


def test_those_of_the_package(as_a_user):
    """Its modules were loaded after the checks were installed."""
    jaxtyping.config.update("jaxtyping_disable", False)
    with pytest.raises(TypeError, match="violates type hint"):
        hiercl.pairs.losses.info_nce(A.long(), None)
