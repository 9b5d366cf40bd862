"""Whether bf16 runs in hardware."""

import torch

__all__ = ["half_precision_is_native"]


def half_precision_is_native(device: torch.device | str) -> bool:
    """Whether bf16 runs in hardware there: CUDA with bf16, or a CPU with AVX512-BF16 or AMX. Elsewhere it is slower.

    Example: ``torch.autocast("cpu", torch.bfloat16, enabled=half_precision_is_native("cpu"))``
    """
    device = torch.device(device)
    if device.type == "cuda" and torch.cuda.is_available():
        with torch.cuda.device(device):
            return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        # Private functions of torch: where a version lacks them, float32 is the safe answer.
        questions = (getattr(torch.cpu, f"_is_{feature}_supported", None) for feature in ("avx512_bf16", "amx_tile"))
        return any(bool(question()) for question in questions if question is not None)
    return False
