"""Updates of a list of parameters like that of a few layers."""
import torch

from . import host, names, trace

B, FLOAT = torch.bfloat16, torch.float32


def parameters(kind, layers=4, h=2048, width=8192, vocabulary=65536):
    shapes = [(vocabulary, h)] + [shape for _ in range(layers) for shape in
                                  ((h, h), (h // 4, h), (h // 4, h), (h, h), (width, h), (width, h), (h, width), (h,),
                                   (h,))] + [(h,)]
    result = [torch.nn.Parameter(torch.randn(*shape, device="cuda", dtype=kind) * 0.02) for shape in shapes]
    for each in result:
        each.grad = torch.randn_like(each)
    return result


def master(own):
    """fp32 copies that an fp32 AdamW updates, gradients cast before and weights after."""
    copies = [torch.nn.Parameter(each.detach().float()) for each in own]
    optimizer = torch.optim.AdamW(copies, lr=1e-4, fused=True)

    def step():
        for copy, each in zip(copies, own):
            copy.grad = each.grad.float()
        optimizer.step()
        torch._foreach_copy_([each.detach() for each in own], [copy.detach() for copy in copies])
    return step


def updates(own):
    adam, flat = torch.optim.AdamW, [each for each in own if each.dim() == 2]
    result = {name: adam(own, lr=1e-4, **options).step for name, options in
              (("AdamW fused", {"fused": True}), ("AdamW foreach", {"foreach": True}),
               ("AdamW one by one", {"foreach": False}))}
    result["SGD momentum foreach"] = torch.optim.SGD(own, lr=1e-4, momentum=0.9, foreach=True).step
    if own[0].dtype == B:
        result["AdamW fused, fp32 master"] = master(own)
    if hasattr(torch.optim, "Adafactor"):
        result["Adafactor foreach"] = torch.optim.Adafactor(own, lr=1e-4, foreach=True).step
        result["Adafactor one by one"] = torch.optim.Adafactor(own, lr=1e-4, foreach=False).step
    if hasattr(torch.optim, "Muon"):
        result["Muon of matrices"] = torch.optim.Muon(flat, lr=1e-4).step
    return result


def extras(own):
    def forget():
        for each in own:
            each.grad.zero_()
    zero = torch.optim.SGD(own, lr=0.0)
    return {"clip_grad_norm_ foreach": lambda: torch.nn.utils.clip_grad_norm_(own, 1.0, foreach=True),
            "clip_grad_norm_ one by one": lambda: torch.nn.utils.clip_grad_norm_(own, 1.0, foreach=False),
            "zero_grad, set to zero": lambda: zero.zero_grad(set_to_none=False), "zero_ one by one": forget}


def one(name, call):
    """Kernels of a call by name and class with the time of the device and of the host."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    memory = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    issued = host.issue(call, 3)
    peak = torch.cuda.max_memory_allocated() - memory
    found, _ = trace.timed([(name, call)], repetitions=2)
    groups = {}
    for kernel, kind, time, op in found.get(name, []):
        group = groups.setdefault((kernel, kind), [0, 0.0])
        group[0] += 1
        group[1] += time
    return {"host_us": issued,
            "extra_bytes": peak, "kernels": [[*key, count, round(time, 1)] for key, (count, time) in groups.items()]}


def measure(write, quick, deadline):
    for kind, label in ((B, "bf16"), (FLOAT, "fp32")):
        own = parameters(kind, layers=1 if quick else 4)
        count = sum(each.numel() for each in own)
        for make in (updates, extras):
            for name, call in make(own).items():
                try:
                    result = one(name, call)
                    result.update(parameters=count, tensors=len(own))
                    write("%s, %s" % (name, label), result)
                except Exception as error:  # the next optimizer may be supported
                    write("%s, %s" % (name, label), {"error": str(error)[:200]})
        del own
        torch.cuda.empty_cache()
