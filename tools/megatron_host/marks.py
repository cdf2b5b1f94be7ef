"""Where the host is: marks with times, or in a profile."""

import time

import torch

times, is_profiled = [], False


def mark(name):
    if is_profiled:
        with torch.profiler.record_function("mark:" + name):
            pass
    else:
        times.append((name, time.perf_counter()))


def first_tensor(value):
    while isinstance(value, (tuple, list)):
        value = value[0]
    return value


def watch(owner, method, name):
    """Marks before a method forward, and where the gradient of its result is there backward."""
    function = getattr(owner, method)

    def call(*args, **kwargs):
        mark(f"forward {name}")
        result = function(*args, **kwargs)
        mark(f"forward {name}, after")
        tensor = first_tensor(result)
        if torch.is_tensor(tensor) and tensor.requires_grad:
            tensor.register_hook(lambda grad: mark(f"backward {name}"))
        return result

    setattr(owner, method, call)


def watch_layers(block):
    for layer in block.layers:
        def before(module, args, kwargs):
            hidden = args[0] if args else kwargs["hidden_states"]
            mark("forward layer")
            if not hidden.is_leaf:
                hidden.register_hook(lambda grad: mark("backward layer"))
        layer.register_forward_pre_hook(before, with_kwargs=True)


def watch_stages(block):
    for layer in block.layers:
        attention, moe = layer.self_attention, layer.mlp
        watch(attention.linear_qkv, "forward", "qkv")
        if hasattr(attention, "q_layernorm"):
            watch(attention.q_layernorm, "forward", "q norm")
            watch(attention.k_layernorm, "forward", "k norm")
        watch(attention.core_attention, "forward", "core")
        watch(attention.linear_proj, "forward", "output")
        watch(layer.pre_mlp_layernorm, "forward", "norm before experts")
        watch(moe, "forward", "moe")
        watch(moe, "route", "router")
        watch(moe, "preprocess", "permute")
        watch(moe, "dispatch", "dispatch")
        watch(moe.token_dispatcher, "dispatch_postprocess", "sort")
        watch(moe.experts, "forward", "experts")
        watch(moe.experts.linear_fc1, "forward", "first products")
        watch(moe.experts.linear_fc2, "forward", "second products")
        watch(moe.router, "gating", "gating")
        watch(moe.router, "routing", "routing")
        watch(moe.token_dispatcher, "preprocess", "counts")
        watch(moe.token_dispatcher, "combine_preprocess", "sort back")
        watch(moe, "combine", "combine")
        watch(moe, "postprocess", "unpermute")
