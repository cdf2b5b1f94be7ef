#!/usr/bin/env python3
"""What training steps and collectives take on the GPUs of one node, in PyTorch: the figures of the group
"measured" of moesim validate.

    NCCL_NVLS_ENABLE=0 torchrun --nproc_per_node 4 tools/measure_step.py out.json

Steps are forward and backward of a few transformer blocks for one sequence of 4,096 tokens, in bf16: no embedding,
head, update or data-parallel sum. Attention is cuDNN's; rotary embedding and dropout are left out; SwiGLU, norms,
residuals and permutations are PyTorch's own kernels. With tensor parallelism a block works on its part of the
sequence outside its products, gathers its input again for the weight gradient beside the input gradient, and sums
the input gradient beside the weight gradient, as Megatron-LM does. Experts get even rows. Collectives are
captured in a CUDA graph of 20, so that no host holds them up. Times are those of rank 0."""
import json
import os
import sys
import time

import torch
import torch.distributed as dist
import torch.nn.functional as F

TOKENS = 4096
BF16 = torch.bfloat16


def gather(part):
    whole = part.new_empty((part.shape[0] * dist.get_world_size(),) + part.shape[1:])
    return whole, dist.all_gather_into_tensor(whole, part, async_op=True)


def scatter(whole):
    part = whole.new_empty((whole.shape[0] // dist.get_world_size(),) + whole.shape[1:])
    return part, dist.reduce_scatter_tensor(part, whole, async_op=True)


class Linear(torch.autograd.Function):
    """x W^T; the weight gradient is added to `total` inside the product."""

    @staticmethod
    def forward(ctx, x, weight, total):
        ctx.save_for_backward(x, weight)
        ctx.total = total
        return x @ weight.t()

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        result = gradient @ weight
        torch.addmm(ctx.total, gradient.t(), x, out=ctx.total)
        return result, None, None


class Column(Linear):
    """The same with columns divided over ranks: the input is gathered before."""

    @staticmethod
    def forward(ctx, x, weight, total):
        whole, handle = gather(x)
        ctx.save_for_backward(x, weight)
        ctx.total = total
        handle.wait()
        return whole @ weight.t()

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        whole, gathered = gather(x)
        result = gradient @ weight
        gathered.wait()
        part, summed = scatter(result)
        torch.addmm(ctx.total, gradient.t(), whole, out=ctx.total)
        summed.wait()
        return part, None, None


class Row(Linear):
    """The same with rows divided over ranks: the output is summed and scattered after."""

    @staticmethod
    def forward(ctx, x, weight, total):
        ctx.save_for_backward(x, weight)
        ctx.total = total
        part, handle = scatter(x @ weight.t())
        handle.wait()
        return part

    @staticmethod
    def backward(ctx, gradient):
        x, weight = ctx.saved_tensors
        whole, handle = gather(gradient)
        handle.wait()
        result = whole @ weight
        torch.addmm(ctx.total, whole.t(), x, out=ctx.total)
        return result, None, None


class Exchange(torch.autograd.Function):
    """An all-to-all of equal parts."""

    @staticmethod
    def forward(ctx, x):
        y = torch.empty_like(x)
        dist.all_to_all_single(y, x)
        return y

    @staticmethod
    def backward(ctx, gradient):
        return Exchange.forward(ctx, gradient.contiguous())


class Block:
    def __init__(self, hidden, heads, kv_heads, width, experts=0, top_k=0, tensor=False):
        ranks = dist.get_world_size()
        self.parts = ranks if tensor else 1
        self.hidden, self.heads, self.kv_heads, self.head = hidden, heads, kv_heads, 128
        self.experts, self.top_k, self.local = experts, top_k, max(1, experts // ranks)
        self.totals = {}
        self.qkv = self.weight((heads + 2 * kv_heads) // self.parts * 128, hidden)
        self.out = self.weight(hidden, heads // self.parts * 128)
        self.norms = [torch.ones(hidden, device="cuda", dtype=BF16, requires_grad=True) for _ in range(2)]
        self.router = self.weight(max(1, experts), hidden)
        self.first = [self.weight(2 * width // self.parts, hidden) for _ in range(self.local)]
        self.second = [self.weight(hidden, width // self.parts) for _ in range(self.local)]

    def weight(self, rows, columns):
        weight = torch.randn(rows, columns, device="cuda", dtype=BF16) * 0.02
        self.totals[id(weight)] = torch.zeros_like(weight)
        return weight

    def apply(self, kind, x, weight):
        return (kind if self.parts > 1 else Linear).apply(x, weight, self.totals[id(weight)])

    def __call__(self, x):
        y = self.apply(Column, F.rms_norm(x, (self.hidden,), self.norms[0]), self.qkv)
        heads, kv_heads = self.heads // self.parts, self.kv_heads // self.parts
        q, k, v = (y.view(1, y.shape[0], heads + 2 * kv_heads, self.head).transpose(1, 2)
                   .split([heads, kv_heads, kv_heads], 1))
        a = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
        a = a.transpose(1, 2).reshape(y.shape[0], heads * self.head)
        x = x + self.apply(Row, a, self.out)
        y = F.rms_norm(x, (self.hidden,), self.norms[1])
        return x + (self.routed(y) if self.experts else self.pair(y, self.first[0], self.second[0]))

    def pair(self, x, first, second):
        gate, up = self.apply(Column, x, first).chunk(2, -1)
        return self.apply(Row, F.silu(gate) * up, second)

    def routed(self, y):
        tokens, ranks = y.shape[0], dist.get_world_size()
        weights, _ = torch.topk(torch.softmax((y @ self.router.t()).float(), -1), self.top_k, -1)
        capacity = -(-tokens * self.top_k // self.experts)
        even = torch.arange(tokens * self.top_k, device="cuda") % self.experts
        # The rows of each expert, and again from the beginning until all are full.
        order = torch.argsort(even, stable=True).repeat(2)[:capacity * self.experts]
        rows = Exchange.apply(y.index_select(0, order // self.top_k))
        rows = rows.view(ranks, self.local, -1, self.hidden).transpose(0, 1).reshape(self.local, -1, self.hidden)
        rows = torch.stack([self.pair(*each) for each in zip(rows, self.first, self.second)])
        rows = rows.view(self.local, ranks, -1, self.hidden).transpose(0, 1).reshape(-1, self.hidden)
        rows = Exchange.apply(rows) * weights.to(BF16).view(-1)[order].unsqueeze(1)
        return torch.zeros(tokens, self.hidden, device="cuda", dtype=BF16).index_add_(0, order // self.top_k, rows)


def milliseconds(run, count):
    dist.barrier()
    torch.cuda.synchronize()
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(count):
        run()
    end.record()
    torch.cuda.synchronize()
    return begin.elapsed_time(end) / count


def step_time(make, layers, rows):
    """Mean of 40 steps after a warm-up of 3 s, which brings the devices to their power limit."""
    blocks = [make() for _ in range(layers)]
    x = torch.randn(rows, blocks[0].hidden, device="cuda", dtype=BF16, requires_grad=True)
    gradient = torch.randn_like(x)

    def step():
        y = x
        for block in blocks:
            y = block(y)
        y.backward(gradient)

    once = torch.tensor(milliseconds(step, 10), device="cuda")
    dist.broadcast(once, 0)
    for _ in range(int(3000 / once.item())):
        step()
    return milliseconds(step, 40)


def collective_times(mebibytes):
    whole = torch.randn(mebibytes << 19, device="cuda", dtype=BF16)
    other = torch.empty_like(whole)
    part = torch.empty(whole.numel() // dist.get_world_size(), device="cuda", dtype=BF16)
    calls = {"all_gather": lambda: dist.all_gather_into_tensor(whole, part),
             "reduce_scatter": lambda: dist.reduce_scatter_tensor(part, whole),
             "all_reduce": lambda: dist.all_reduce(other),
             "all_to_all": lambda: dist.all_to_all_single(other, whole)}
    times = {}
    for name, call in calls.items():
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                call()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(20):
                call()
        graph.replay()
        times[name] = milliseconds(graph.replay, 3) / 20 * 1e3
    return times


def main():
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl", device_id=torch.device("cuda", torch.cuda.current_device()))
    ranks = dist.get_world_size()
    result = {
        "device": torch.cuda.get_device_name(), "ranks": ranks, "pytorch": torch.__version__,
        "nccl": torch.cuda.nccl.version(), "nvls": os.environ.get("NCCL_NVLS_ENABLE", "default"),
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "collectives_us": {size: collective_times(size) for size in (1, 4, 16, 64, 256, 512)},
        "steps_ms": {
            "llama3-70b, 6 layers, tensor": step_time(lambda: Block(8192, 64, 8, 28672, tensor=True), 6, TOKENS // ranks),
            "llama3-70b, 2 layers, one device": step_time(lambda: Block(8192, 64, 8, 28672), 2, TOKENS),
            "mixtral-8x7b, 3 layers, expert": step_time(lambda: Block(4096, 32, 8, 14336, 8, 2), 3, TOKENS)}}
    if dist.get_rank() == 0:
        with open(sys.argv[1], "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    dist.barrier()
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
