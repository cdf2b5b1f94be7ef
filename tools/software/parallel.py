"""Two GPUs: DDP, FSDP2, pipelines and tensor parallelism as PyTorch does them. Run by torchrun; rank 0 writes."""
import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import nn

from . import compiled, stacks, steps

B, FLOAT = torch.bfloat16, torch.float32


def collectives():
    result = {}
    for kind in (B, FLOAT):
        for mebibytes in (1, 4, 16, 25, 64, 256, 1024):
            whole = torch.randn((mebibytes << 20) // kind.itemsize, device="cuda", dtype=kind)
            part = whole[:whole.numel() // dist.get_world_size()].clone()
            calls = {"all_reduce": lambda: dist.all_reduce(whole),
                     "all_gather": lambda: dist.all_gather_into_tensor(whole, part),
                     "reduce_scatter": lambda: dist.reduce_scatter_tensor(part, whole)}
            for name, call in calls.items():
                for _ in range(3):
                    call()
                begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
                torch.cuda._sleep(3_000_000)
                begin.record()
                for _ in range(10):
                    call()
                end.record()
                torch.cuda.synchronize()
                result["%s %s %d MiB" % (name, str(kind)[6:], mebibytes)] = round(begin.elapsed_time(end) * 100, 2)
    return result


def ddp(**options):
    return lambda model: nn.parallel.DistributedDataParallel(model, device_ids=[torch.cuda.current_device()], **options)


def fsdp(reshard=True, mixed=True, reduce=FLOAT):
    def wrap(model):
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
        options = {"mp_policy": MixedPrecisionPolicy(param_dtype=B, reduce_dtype=reduce)} if mixed else {}
        for layer in model.model.layers:
            fully_shard(layer, reshard_after_forward=reshard, **options)
        return fully_shard(model, reshard_after_forward=reshard, **options)
    return wrap


def data_parallel(quick):
    """(key, case, wrap)."""
    dense, routed = steps.case("llama", 1, 4096), steps.case("mixtral", 1, 4096, experts="grouped_mm")
    small = steps.case("qwen3", 2, 2048)
    for name, case in (("dense", dense), ("routed", routed), ("small", small)):
        fp32 = dict(case, fp32=True)
        yield name + ", alone", case, None
        yield name + ", DDP", case, ddp()
        yield name + ", FSDP2 bf16", case, fsdp(mixed=False)
        if name != "routed":
            yield name + ", DDP, buckets as views", case, ddp(gradient_as_bucket_view=True)
            yield name + ", FSDP2 fp32, mixed, reshard", fp32, fsdp()
            yield name + ", FSDP2 fp32, mixed, kept", fp32, fsdp(reshard=False)
        if name == "small":
            yield name + ", FSDP2 fp32, reduced in bf16", fp32, fsdp(reduce=B)


def pipelines(quick):
    from torch.distributed import pipelining as pipe
    shape, tokens, blocks, micro = compiled.SHAPES["dense 4096"], 4096, 2, 8
    if quick:
        shape, tokens = (256, 4, 2, 64, 512), 128
    rank, ranks = dist.get_rank(), dist.get_world_size()
    result = {"shape": shape, "tokens": tokens, "blocks a rank": blocks, "microbatches": micro}
    result["alone"] = stacks.split_backward(shape, blocks, tokens)
    kinds = {"GPipe": 1, "1F1B": 1, "Interleaved1F1B": 2, "InterleavedZeroBubble": 2, "ZBVZeroBubble": 2,
             "DualPipeV": 2}
    x = torch.randn(micro, tokens, shape[0], device="cuda", dtype=B)
    for name, chunks in kinds.items():
        try:
            order = [rank + ranks * chunk for chunk in range(chunks)]
            if name in ("ZBVZeroBubble", "DualPipeV"):
                order = [rank, 2 * ranks - 1 - rank]
            stages = [pipe.PipelineStage(stacks.stack(shape, blocks // chunks, tokens), number, ranks * chunks,
                                         torch.device("cuda", torch.cuda.current_device())) for number in order]
            schedule = getattr(pipe.schedules, "Schedule" + name)(stages if chunks > 1 else stages[0], micro,
                    loss_fn=lambda y, target: (y.float() - target.float()).pow(2).mean())
            first, last = 0 in order, ranks * chunks - 1 in order

            def step():
                options = {"target": x, "losses": []} if last else {}
                schedule.step(*((x,) if first else ()), **options)
                for stage in stages:
                    stage.submod.zero_grad(set_to_none=True)
            result[name] = stacks.clocked(step)
            del stages, schedule
        except Exception as error:  # a schedule that this version lacks
            result[name] = "%s: %s" % (type(error).__name__, str(error)[:200])
        steps.clean()
    return result


def sequence():
    """What a block needs besides for a sequence divided outside of its products."""
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.parallel import PrepareModuleInput, RowwiseParallel, SequenceParallel
    gathered = {name: PrepareModuleInput(input_layouts=places, desired_input_layouts=(Replicate(),) + places[1:])
                for name, places in (("attention", (Shard(1), None)), ("feed", (Shard(1),)))}
    return dict(gathered, **{name: RowwiseParallel(output_layouts=Shard(1)) for name in ("attention.o", "feed.down")},
                **{"norms.%d" % number: SequenceParallel() for number in range(2)})


def tensor_parallel(quick):
    """Forward and backward of four eager blocks with DTensor, few and many tokens; ms on the clock."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module
    mesh, result = init_device_mesh("cuda", (dist.get_world_size(),)), {}
    shape = (256, 4, 2, 64, 512) if quick else compiled.SHAPES["dense 4096"]
    plan = {name: ColwiseParallel() for name in ("attention.q", "attention.k", "attention.v", "feed.gate", "feed.up")}
    plan.update({name: RowwiseParallel() for name in ("attention.o", "feed.down")})
    for tokens in (128, 4096):
        for way in ("alone", "tensor", "sequence"):
            own, part = stacks.stack(shape, 4, tokens), dist.get_world_size() if way == "sequence" else 1
            for block in own.blocks if way != "alone" else ():
                parallelize_module(block, mesh, plan if way == "tensor" else dict(plan, **sequence()))
            x = torch.randn(1, tokens // part, shape[0], device="cuda", dtype=B, requires_grad=True)
            gradient = torch.randn_like(x)

            def both():
                own(x).backward(gradient)
            result["%s, %d tokens" % (way, tokens)] = {"forward": stacks.clocked(lambda: own(x)),
                                                       "both": stacks.clocked(both)}
            del own
            steps.clean()
    return result


def one(case, wrap, quick):
    fp32 = case.pop("fp32", False)
    made = steps.Step(dict(case, autocast=fp32), quick, wrap)
    if fp32:
        made.case["autocast"] = False  # the sharding casts
    for _ in range(3):
        made()
    count = 8
    result = dict(case, step_ms=round(steps.step_ms(made, count), 3))
    result["memory"] = steps.memory(made)
    result.update(steps.passes(made))
    for _ in range(count):
        made()
    result.update(steps.by_class(made))
    return result


def measure(write, quick, deadline):
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl", device_id=torch.device("cuda", torch.cuda.current_device()),
                            timeout=timedelta(seconds=60))
    if dist.get_rank():
        def write(key, value):
            return None
    write("collectives_us", collectives())
    for key, case, wrap in data_parallel(quick):
        begin = time.time()
        try:
            write(key, one(dict(case), wrap, quick))
        except Exception as error:  # the rest may run
            write(key, {"error": "%s: %s" % (type(error).__name__, str(error)[:300])})
        print(key, round(time.time() - begin, 1), flush=True)
        steps.clean()
    for name, run in (("tensor_ms", tensor_parallel), ("pipelines_ms", pipelines)):
        begin = time.time()
        try:
            write(name, run(quick))
        except Exception as error:  # the rest may run
            write(name, {"error": "%s: %s" % (type(error).__name__, str(error)[:300])})
        print(name, round(time.time() - begin, 1), flush=True)
        steps.clean()
    dist.barrier()
    dist.destroy_process_group()
