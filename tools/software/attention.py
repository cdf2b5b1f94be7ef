"""Attention as PyTorch offers it: kernels of each backend, forward and backward."""
import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from . import trace

B = torch.bfloat16
BACKENDS = {"flash": SDPBackend.FLASH_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION,
            "cudnn": SDPBackend.CUDNN_ATTENTION, "math": SDPBackend.MATH}


def shapes(quick):
    """batch, heads, kv heads, tokens, head dimension, value dimension."""
    if quick:
        return [(1, 8, 2, 512, 128, 128)]
    lengths = [(16, 32, 8, 512), (8, 32, 8, 1024), (4, 32, 8, 2048), (2, 32, 8, 4096), (1, 32, 8, 8192),
               (1, 16, 4, 16384), (1, 8, 2, 32768), (1, 4, 1, 65536), (1, 2, 1, 131072)]
    rows = [each + (d, d) for each in lengths for d in (64, 128)]
    rows += [(b, h, h, s, 192, 128) for b, h, s in ((4, 32, 1024), (1, 32, 4096), (1, 16, 16384), (1, 128, 4096))]
    return rows + [(2, 28, 4, 3000, 128, 128), (1, 64, 8, 4096, 64, 64), (1, 32, 4, 4096, 128, 128),
                   (2, 16, 16, 2048, 256, 256)]


def cases(quick):
    for b, h, hk, s, d, dv in shapes(quick):
        q = torch.randn(b, s, h, d, device="cuda", dtype=B).transpose(1, 2).requires_grad_()
        k, v = (torch.randn(b, s, hk, each, device="cuda", dtype=B).transpose(1, 2).requires_grad_()
                for each in (d, dv))
        kr, vr = (each.detach().repeat_interleave(h // hk, 1).requires_grad_() for each in (k, v))
        mask = None
        if s <= 8192:
            mask = torch.full((s, s), float("-inf"), device="cuda", dtype=B).triu(1)[None, None]
        key = "%d|%d|%d|%d|%d|%d" % (b, h, hk, s, d, dv)
        ways = [("flash", "causal", {"is_causal": True}, kr, vr), ("cudnn", "causal", {"is_causal": True}, kr, vr),
                ("efficient", "causal", {"is_causal": True}, kr, vr)]
        if hk != h:
            ways += [("flash", "grouped", {"is_causal": True, "enable_gqa": True}, k, v),
                     ("cudnn", "grouped", {"is_causal": True, "enable_gqa": True}, k, v)]
        if mask is not None:
            ways += [("efficient", "mask", {"attn_mask": mask}, kr, vr),
                     ("efficient", "bool", {"attn_mask": mask == 0}, kr, vr),
                     ("cudnn", "mask", {"attn_mask": mask}, kr, vr),
                     ("flash", "full", {}, kr, vr)]
        if s <= 2048:
            ways += [("math", "causal", {"is_causal": True}, kr, vr)]
        for backend, form, options, keys, values in ways:
            yield from both(key + "|" + backend + "|" + form, BACKENDS[backend], q, keys, values, options)
        del q, k, v, kr, vr, mask
        torch.cuda.empty_cache()


def both(key, backend, q, k, v, options):
    def forward():
        with sdpa_kernel([backend]):
            return F.scaled_dot_product_attention(q, k, v, **options)
    yield key + "|forward", lambda: forward()
    try:
        made = forward()
    except RuntimeError:
        return
    g = torch.randn_like(made)
    yield key + "|backward", lambda: torch.autograd.grad(made, (q, k, v), g, retain_graph=True)


def measure(write, quick, deadline):
    found, failed = trace.timed(cases(quick), repetitions=2, flush=False)
    write("sdpa", {"columns": "batch|heads|kv heads|tokens|head|value head|backend|form|pass: kernels [name, us]",
                   "times": {key: [[kernel[0], kernel[2]] for kernel in kernels] for key, kernels in found.items()},
                   "failed": failed})
