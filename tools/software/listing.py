"""Every kernel of a run with the op, part and pass that it belongs to and the bytes that the op must move; what is
kept for the backward pass."""
from collections import defaultdict

import torch
from torch.profiler import record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from . import names, trace

TYPES = {torch.bfloat16: "b", torch.float32: "f", torch.int64: "l", torch.int32: "i", torch.bool: "?", torch.uint8: "u",
         torch.float16: "h"}


def stored(tensor):
    """Bytes of a tensor's elements; those that a stride of 0 repeats count once."""
    elements = 1
    for size, stride in zip(tensor.shape, tensor.stride()):
        elements *= size if stride else 1
    return elements * tensor.element_size() if tensor.numel() else 0


def shape_of(tensor):
    """b[4096,128]: type, shape; ~ strided, * repeated by strides of 0."""
    mark = ""
    if tensor.numel() and not tensor.is_contiguous():
        mark = "*" if any(stride == 0 and size > 1 for size, stride in zip(tensor.shape, tensor.stride())) else "~"
    return TYPES.get(tensor.dtype, str(tensor.dtype)) + mark + "[" + ",".join(map(str, tensor.shape)) + "]"


def moved(name, inputs, outputs):
    """Bytes that an op reads and writes. Indexed ops read the rows that they take, not the whole table."""
    given, made = sum(map(stored, inputs)), sum(map(stored, outputs))
    if not inputs and not outputs:
        return 0
    first = stored(inputs[0]) if inputs else 0
    if name in ("index", "index_select", "gather", "embedding"):
        return given - first + 2 * made
    if name in ("index_add_", "_index_put_impl_", "index_put_", "scatter_add_", "scatter_", "scatter"):
        rows = stored(inputs[-1])
        return given - first + (2 * rows if "scatter" not in name or "add" in name else rows)
    if name in ("copy_",):
        return (stored(inputs[1]) if len(inputs) > 1 else 0) + first
    if name in ("zero_", "fill_", "zeros", "zeros_like", "new_zeros", "ones_like", "full", "full_like"):
        return made or first
    return given + made


class Recorder(TorchDispatchMode):
    """Wraps each op in a range of the profiler and writes down its tensors."""

    def __init__(self):
        super().__init__()
        self.ops = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if "profiler" in str(function):
            return function(*arguments, **(keywords or {}))
        number = len(self.ops)
        self.ops.append(None)
        with record_function("op:%d" % number):
            result = function(*arguments, **(keywords or {}))
        inputs = [each for each in tree_flatten((arguments, keywords or {}))[0] if isinstance(each, torch.Tensor)]
        outputs = [each for each in tree_flatten(result)[0] if isinstance(each, torch.Tensor)]
        name = str(function).replace("aten.", "").replace("aten::", "").split(".")[0]
        self.ops[number] = (name, [shape_of(each) for each in inputs], [shape_of(each) for each in outputs],
                            moved(name, inputs, outputs), [tuple(each.shape) for each in inputs + outputs])
        return result


class Parts:
    """Marks each module's forward pass as the range "@name", numbers of layers left out."""

    def __init__(self, model):
        self.open, self.stack, self.handles = {}, [], []
        for name, module in model.named_modules():
            name = "".join(part + "." for part in name.split(".") if not part.isdigit()).rstrip(".")
            for prefix in ("model.", "layers."):
                name = name.removeprefix(prefix)
            self.handles.append(module.register_forward_pre_hook(self.enter(name)))
            self.handles.append(module.register_forward_hook(self.leave()))

    def enter(self, name):
        def hook(module, arguments):
            range_ = record_function("@" + name)
            range_.__enter__()
            self.stack.append((name, range_))
        return hook

    def leave(self):
        def hook(module, arguments, result):
            self.stack.pop()[1].__exit__(None, None, None)
        return hook

    def here(self):
        return self.stack[-1][0] if self.stack else ""

    def remove(self):
        for handle in self.handles:
            handle.remove()


class Kept:
    """Tensors saved for the backward pass, each storage once, by part; parameters are not among them."""

    def __init__(self, model, parts):
        self.seen = {each.untyped_storage().data_ptr() if hasattr(each, "untyped_storage") else each.data_ptr()
                     for each in model.parameters()}
        self.parts, self.found = parts, defaultdict(int)
        self.bytes = 0

    def pack(self, tensor):
        if tensor.is_cuda:
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self.seen:
                self.seen.add(storage.data_ptr())
                self.found[(self.parts.here(), shape_of(tensor), storage.nbytes())] += 1
                self.bytes += storage.nbytes()
        return tensor

    def context(self):
        return torch.autograd.graph.saved_tensors_hooks(self.pack, lambda tensor: tensor)

    def rows(self):
        return [[part, shape, count, nbytes] for (part, shape, nbytes), count in self.found.items()]


def listing(model, forward, backward=None, update=None, vocabulary=None):
    """{"kernels": [[pass, part, op, inputs, outputs, bytes, kernel, class, count, mean us]], "kept": ...} of one run.
    `forward` gives what `backward` takes. Rows are in the order of their first launch."""
    parts = Parts(model)
    kept = Kept(model, parts)
    recorder = Recorder()
    memory = {}

    def run():
        before = torch.cuda.memory_allocated()
        with recorder:
            with kept.context():
                loss = forward()
            memory["after_forward"] = torch.cuda.memory_allocated() - before
            if backward:
                backward(loss)
            memory["after_backward"] = torch.cuda.memory_allocated() - before
            if update:
                with record_function("@update"):
                    update()
    try:
        seen = trace.Trace(trace.record(run, shapes=False))
    finally:
        parts.remove()
    return {"kernels": rows(seen, recorder.ops, vocabulary), "kept": kept.rows(), "kept_bytes": kept.bytes,
            "memory": memory}


def rows(seen, ops, vocabulary):
    groups, order = {}, []
    for kernel in seen.kernels:
        stack = seen.around(kernel)
        number = next((int(event["name"][3:]) for event in stack if event["name"].startswith("op:")), None)
        part, pass_ = seen.part(stack)
        if "update" in part:
            pass_ = "update"
        op = ops[number] if number is not None else None
        name, inputs, outputs, nbytes, shapes = op or ("", [], [], 0, [])
        key = (pass_, part, name, " ".join(inputs[:6])[:120], " ".join(outputs[:4])[:80], nbytes,
               names.short(kernel["name"]),
               "update" if pass_ == "update" else names.kind(kernel["name"], "aten::" + name, shapes, vocabulary))
        if key not in groups:
            groups[key] = []
            order.append(key)
        groups[key].append(kernel["dur"])
    return [list(key) + [len(groups[key]), round(sum(groups[key]) / len(groups[key]), 2)] for key in order]
