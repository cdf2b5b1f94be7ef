"""A few blocks one behind the other: what a stage of a pipeline runs."""
import time

import torch
import torch.distributed as dist
from torch import nn

from . import compiled

B = torch.bfloat16


class Stack(nn.Module):
    def __init__(self, shape, blocks, tokens):
        super().__init__()
        self.blocks = nn.ModuleList([compiled.Block(*shape) for _ in range(blocks)])
        phase = torch.outer(torch.arange(tokens), 1e4 ** (-torch.arange(0, shape[3], 2) / shape[3]))
        self.turns = torch.polar(torch.ones_like(phase), phase)[None, :, None, :].cuda()

    def forward(self, x):
        for block in self.blocks:
            x = block(x, self.turns)
        return x


def stack(shape, blocks, tokens):
    made = Stack(shape, blocks, tokens)
    made.blocks.to(device="cuda", dtype=B)
    return made


def clocked(call, count=5):
    for _ in range(3):
        call()
    if dist.is_initialized():
        dist.barrier()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        call()
    torch.cuda.synchronize()
    return round((time.perf_counter() - begin) / count * 1e3, 3)


def split_backward(shape, blocks, tokens):
    """Forward, whole backward, input and weight gradients apart as torch.distributed.pipelining does them; ms."""
    from torch.distributed.pipelining._backward import stage_backward_input, stage_backward_weight
    own = stack(shape, blocks, tokens)
    x = torch.randn(1, tokens, shape[0], device="cuda", dtype=B, requires_grad=True)
    gradient = torch.randn_like(x)
    parameters = list(own.parameters())

    def clear():
        own.zero_grad(set_to_none=True)
        x.grad = None

    def whole():
        clear()
        own(x).backward(gradient)

    def apart(weights=True):
        clear()
        y = own(x)
        _, groups = stage_backward_input([y], [gradient], [x], iter(parameters))
        if weights:
            stage_backward_weight(iter(parameters), groups)
    return {"forward": clocked(lambda: own(x)), "with backward": clocked(whole), "with split backward": clocked(apart),
            "with input gradients alone": clocked(lambda: apart(False))}


def measure(write, quick, deadline):
    for name, shape in compiled.SHAPES.items():
        if quick:
            shape = (256, 4, 2, 64, 512) + ((8, 2) if len(shape) > 5 else ())
        for tokens in (128,) if quick else (4096, 8192):
            write("%s, 2 blocks, %d tokens" % (name, tokens), split_backward(shape, 2, tokens))
            torch.cuda.empty_cache()
