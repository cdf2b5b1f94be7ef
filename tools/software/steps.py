"""Whole training steps of the models: time, time by class of kernel, launches, waits, memory; and, for some, every
kernel of a step."""
import contextlib
import gc
import time
from collections import defaultdict

import torch
from torch.profiler import record_function

from . import listing, models, names, trace


def case(model, batch, tokens, **options):
    return dict(options, model=model, batch=batch, tokens=tokens)


ROUTED = ("qwen3-moe", "mixtral", "gpt-oss", "deepseek-v3")


def cases():
    """(case, whether every kernel is listed), those that take long last."""
    yield case("llama", 2, 4096, clip=True), False
    yield case("llama-small", 2, 4096, autocast=True, update="foreach", clip=True), False
    yield case("qwen3", 2, 8192, checkpoint=True, autocast=True), False
    yield case("deepseek-v3", 1, 8192, experts="grouped_mm", checkpoint=True), False
    yield case("gpt-oss", 2, 4096, experts="grouped_mm", checkpoint=True), False
    yield case("llama", 1, 32768, checkpoint=True, no_update=True), False
    for name in ("llama-small", "llama", "qwen3", "qwen2"):
        yield case(name, 1, 64), False
    for name in ROUTED:
        yield case(name, 1, 64, experts="grouped_mm"), False
    yield case("mixtral", 1, 64, experts="eager"), False
    for name in ("llama", "qwen3", "qwen2", "llama-small", "llama-mha"):
        yield case(name, 1, 4096), name in ("llama", "qwen3")
    for name in ROUTED:
        yield case(name, 1, 4096, experts="grouped_mm"), name != "mixtral"
    yield case("llama", 1, 4096, checkpoint=True), False
    yield case("llama", 1, 4096, autocast=True), True
    yield case("llama", 1, 2048, attention="eager"), True
    yield case("llama", 4, 2048, mask=True), True
    yield case("llama", 1, 4096, cache=True), False
    yield case("mixtral", 2, 4096, experts="grouped_mm", checkpoint=True), False
    yield case("qwen3-moe", 1, 32, experts="batched_mm", no_update=True), False
    for name, batch, tokens in (("llama", 1, 512), ("llama", 4, 4096), ("llama-small", 8, 1024),
                                ("llama-small", 1, 16384), ("qwen3", 4, 2048), ("qwen2", 2, 3000),
                                ("llama-mha", 2, 8192)):
        yield case(name, batch, tokens), False
    for name in ROUTED:
        for batch, tokens in ((1, 512), (4, 2048)):
            yield case(name, batch, tokens, experts="grouped_mm"), False
    yield case("qwen3-moe", 2, 4096, experts="grouped_mm", checkpoint=True), False
    yield case("llama", 2, 4096, update="foreach"), False
    for batch, tokens in ((1, 2048), (1, 512), (4, 2048)):
        yield case("mixtral", batch, tokens, experts="eager"), batch * tokens == 2048
    yield case("qwen3-moe", 2, 4096, experts="grouped_mm", autocast=True), False
    for name in ("deepseek-v3", "gpt-oss", "qwen3-moe"):
        for batch, tokens in ((1, 2048), (1, 512), (4, 2048)):
            yield case(name, batch, tokens, experts="eager"), False


def label(case_):
    rest = [each if value is True else "%s %s" % (each, value) for each,
            value in case_.items() if each not in ("model", "batch", "tokens")]
    return ", ".join(["%s, %d x %d" % (case_["model"], case_["batch"], case_["tokens"])] + rest)


class Step:
    def __init__(self, case_, quick, wrap=None):
        self.case = case_
        self.kind = torch.float32 if case_.get("autocast") else torch.bfloat16
        self.model = models.build(case_["model"], quick, case_.get("attention", "sdpa"), case_.get("experts"),
                                  self.kind,
                                  **({"use_cache": True} if case_.get("cache") else {}))
        if case_.get("checkpoint"):
            self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        if wrap:
            self.model = wrap(self.model)
        way = {"foreach": True} if case_.get("update") == "foreach" else {"fused": True}
        self.optimizer = None if case_.get("no_update") else torch.optim.AdamW(self.model.parameters(), lr=1e-5, **way)
        self.vocabulary = models.vocabulary(case_["model"], quick)
        tokens = min(case_["tokens"], 128) if quick else case_["tokens"]
        self.inputs = torch.randint(0, self.vocabulary, (case_["batch"], tokens), device="cuda")
        self.mask = {}
        if case_.get("mask"):
            mask = torch.ones_like(self.inputs)
            mask[:, :tokens // 8] = 0
            self.mask = {"attention_mask": mask}

    def forward(self):
        context = torch.autocast("cuda", torch.bfloat16) if self.case.get("autocast") else contextlib.nullcontext()
        with context:
            return self.model(input_ids=self.inputs, labels=self.inputs, **self.mask).loss

    def update(self):
        if self.case.get("clip"):
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        if self.optimizer:
            self.optimizer.step()
        self.model.zero_grad(set_to_none=True)

    def __call__(self):
        with record_function("whole"):
            for _ in range(self.case.get("accumulate", 1)):
                with record_function("@forward"):
                    loss = self.forward()
                loss.backward()
            with record_function("@update"):
                self.update()


def passes(step, count=5):
    """Medians over steps, in ms: each pass on the device's clock, and what the host took to issue it."""
    found = []
    for _ in range(count):
        torch.cuda.synchronize()
        events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
        clock = [time.perf_counter()]
        events[0].record()
        loss = step.forward()
        events[1].record()
        clock.append(time.perf_counter())
        loss.backward()
        events[2].record()
        clock.append(time.perf_counter())
        step.update()
        events[3].record()
        clock.append(time.perf_counter())
        torch.cuda.synchronize()
        found.append([events[i].elapsed_time(events[i + 1]) for i in range(3)] + [(clock[i + 1] - clock[i]) * 1e3
            for i in range(3)])
    middle = [round(sorted(each)[count // 2], 3) for each in zip(*found)]
    return {"device_ms": middle[:3], "host_ms": middle[3:]}


def step_ms(step, count):
    """Mean time of steps one behind the other, by the clock on the wall."""
    torch.cuda.synchronize()
    begin = time.perf_counter()
    for _ in range(count):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - begin) / count * 1e3


def memory(step):
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    result = {"before": torch.cuda.memory_allocated()}
    for _ in range(step.case.get("accumulate", 1) - 1):
        step.forward().backward()
    loss = step.forward()
    result["after_forward"] = torch.cuda.memory_allocated()
    result["peak_forward"] = torch.cuda.max_memory_allocated()
    loss.backward()
    result["after_backward"] = torch.cuda.memory_allocated()
    result["peak_backward"] = torch.cuda.max_memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    step.update()
    result["peak_update"] = torch.cuda.max_memory_allocated()
    return result


def twice(step):
    step()
    step()


def by_class(step, once=False):
    """Busy time by class and pass, launches and waits, of the second of two profiled steps, or of one."""
    seen = trace.Trace(trace.record(step if once else lambda: twice(step)))
    whole = max((event for events in seen.host.values() for event in events if event["name"] == "whole"),
                key=lambda event: event["ts"])
    seen.kernels = [kernel for kernel in seen.kernels
                    if whole["ts"] <= seen.issued(kernel) <= whole["ts"] + whole["dur"]]
    classes, top, copies = defaultdict(lambda: [0, 0.0]), defaultdict(lambda: [0, 0.0]), defaultdict(int)
    for kernel in seen.kernels:
        stack = seen.around(kernel)
        op, shapes = trace.op_of(stack)
        kind = names.kind(kernel["name"], op, shapes, step.vocabulary)
        part, pass_ = seen.part(stack)
        if part == "update":
            kind, pass_ = "update", "update"
        for table, key in ((classes, (pass_, kind)), (top, (kind, names.short(kernel["name"])))):
            table[key][0] += 1
            table[key][1] += kernel["dur"]
        copies[kernel["name"]] += kernel["name"].startswith("Memcpy")
    spans = [(names.kind_of(kernel["name"]), kernel["ts"], kernel["ts"] + kernel["dur"]) for kernel in seen.kernels]
    busy = trace.union([span[1:] for span in spans])
    own = trace.union([span[1:] for span in spans if span[0] != "communication"])
    span = max(end for _, _, end in spans) - min(start for _, start, _ in spans)
    largest = sorted(top.items(), key=lambda item: -item[1][1])[:16]
    inside = [event for event in seen.runtime if whole["ts"] <= event["ts"] <= whole["ts"] + whole["dur"]]
    waits = [event for event in inside if event["name"] in trace.WAITS]
    return {"busy_us": round(busy), "span_us": round(span), "exposed_communication_us": round(busy - own),
            "kernels": len(seen.kernels),
            "classes_us": {"%s, %s" % key: [count, round(time)] for key, (count, time) in classes.items()},
            "largest_us": [[*key, count, round(time)] for key, (count, time) in largest], "waits": len(waits),
            "waited_us": round(sum(event["dur"] for event in waits)),
            "copies": {name: count for name, count in copies.items() if count}}


def one(case_, listed, quick):
    step = Step(case_, quick)
    for _ in range(2):
        step()
    once = step_ms(step, 1)
    count = max(2, min(20, int(1000 / once)))
    result = dict(case_, **models.size(step.model))
    result["step_ms"] = round(step_ms(step, count), 3)
    result["memory"] = memory(step)
    result.update(passes(step))
    for _ in range(count):  # as warm as it is when steps follow each other
        step()
    result.update(by_class(step, once > 300))
    if listed:
        result["listing"] = listing.listing(step.model, step.forward, lambda loss: loss.backward(), step.update,
                                            step.vocabulary)
    return result


def clean():
    gc.collect()
    torch.cuda.empty_cache()


def measure(write, quick, deadline):
    measure_all(cases(), write, quick, deadline)


def measure_all(listed_cases, write, quick, deadline):
    for case_, listed in listed_cases:
        if time.time() > deadline:
            print("steps: no time left for", label(case_), flush=True)
            continue
        begin = time.time()
        try:
            result = one(case_, listed, quick)
            result["took_s"] = round(time.time() - begin, 1)
            write(label(case_), result)
        except Exception as error:  # a version of the library may not have it
            write(label(case_), {"error": "%s: %s" % (type(error).__name__, str(error)[:300])})
            if "CUDA error" in str(error):
                raise
        clean()
