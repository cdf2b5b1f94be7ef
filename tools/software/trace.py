"""A profile as PyTorch exports it, read into kernels with the op, the part and the pass that launched them."""
import bisect
import json
import os
import tempfile
from collections import defaultdict

import torch
from torch.profiler import ProfilerActivity, profile, record_function

from . import names

DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")
WAITS = ("cudaStreamSynchronize", "cudaDeviceSynchronize", "cudaEventSynchronize")


def record(run, shapes=True):
    """The events of one run, as a list of dictionaries."""
    torch.cuda.synchronize()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], record_shapes=shapes) as profiler:
        run()
        torch.cuda.synchronize()
    handle, path = tempfile.mkstemp(suffix=".json")
    os.close(handle)
    try:
        profiler.export_chrome_trace(path)
        with open(path, encoding="utf-8") as file:
            return json.load(file)["traceEvents"]
    finally:
        os.unlink(path)


class Trace:
    """Kernels in the order of their launches; each knows the ranges on the host that it was launched in."""

    def __init__(self, events):
        self.host = defaultdict(list)
        self.launches, self.kernels, self.runtime = {}, [], []
        for event in events:
            category = event.get("cat")
            if category in ("cpu_op", "user_annotation"):
                self.host[event["tid"]].append(event)
            elif category in ("cuda_runtime", "cuda_driver"):
                self.runtime.append(event)
                self.launches[event["args"].get("correlation")] = event
            elif category in DEVICE:
                self.kernels.append(event)
        for events in self.host.values():
            events.sort(key=lambda event: (event["ts"], -event.get("dur", 0)))
        self.parents = {tid: parents(events) for tid, events in self.host.items()}
        self.starts = {tid: [event["ts"] for event in events] for tid, events in self.host.items()}
        self.forward = self.by_sequence()
        self.kernels.sort(key=self.issued)

    def issued(self, kernel):
        launch = self.launches.get(kernel["args"].get("correlation"))
        return launch["ts"] if launch else kernel["ts"]

    def by_sequence(self):
        """The last op of the forward pass with each autograd sequence number: the one that made the node."""
        result = {}
        for tid, events in self.host.items():
            for number, event in enumerate(events):
                arguments = event.get("args", {})
                sequence = arguments.get("Sequence number", -1)
                if sequence >= 0 and not arguments.get("Fwd thread id"):
                    result[sequence] = (tid, number)
        return result

    def stack(self, tid, time):
        """Ranges around a moment, the innermost first."""
        if tid not in self.host:
            return []
        number = bisect.bisect_right(self.starts[tid], time) - 1
        result = []
        while number is not None and number >= 0:
            event = self.host[tid][number]
            if event["ts"] <= time <= event["ts"] + event.get("dur", 0):
                result.append(event)
            number = self.parents[tid][number]
        return result

    def around(self, kernel):
        launch = self.launches.get(kernel["args"].get("correlation"))
        return self.stack(launch["tid"], launch["ts"]) if launch else []

    def part(self, stack):
        """(part, pass): part is the innermost range "@name"; a backward op has that of its forward op."""
        backward = next((event for event in stack if "evaluate_function" in event["name"]), None)
        for event in stack:
            if event["name"].startswith("@"):
                return event["name"][1:], "recompute" if backward else "forward"
        if backward is None:
            return "", "forward"
        tid, number = self.forward.get(backward.get("args", {}).get("Sequence number", -1), (None, None))
        while number is not None and tid is not None:
            if self.host[tid][number]["name"].startswith("@"):
                return self.host[tid][number]["name"][1:], "backward"
            number = self.parents[tid][number]
        return "", "backward"


def parents(events):
    """Index of the range around each range, or None."""
    result, stack = [], []
    for number, event in enumerate(events):
        while stack and events[stack[-1]]["ts"] + events[stack[-1]].get("dur", 0) < event["ts"] + event.get("dur",
                0) - 0.001:
            stack.pop()
        result.append(stack[-1] if stack else None)
        stack.append(number)
    return result


def union(spans):
    """Time covered by spans (start, end)."""
    total, end = 0.0, float("-inf")
    for start, stop in sorted(spans):
        if stop > end:
            total += stop - max(start, end)
            end = stop
    return total


def op_of(stack):
    """The innermost op, its input shapes, and the autograd node around it."""
    op = next((event for event in stack if event.get("cat") == "cpu_op"), None)
    if op is None:
        return "", ()
    return op["name"], op.get("args", {}).get("Input Dims", ())


def timed(cases, repetitions=3, flush=True):
    """Kernels of each (key, run): [[short name, class, microseconds]], medians over repetitions, one profile for all.
    `flush`: the last-level cache is filled with other lines before each."""
    spare = torch.zeros(64 << 20, device="cuda") if flush else None
    failed = {}

    def run():
        for key, call in cases:
            try:
                for number in range(repetitions + 1):
                    if flush:
                        spare.sum()
                    with record_function("case:%s#%d" % (key, number)):
                        call()
            except Exception as error:  # one case that a library does not support is no reason to stop
                failed[key] = str(error).split("\n")[0][:120]
                if "CUDA error" in str(error):
                    raise
    return {key: middle(runs) for key, runs in by_case(Trace(record(run, shapes=False))).items()}, failed


def by_case(trace):
    """{key: {repetition: kernels}}. A backward pass is issued by another thread while its range is open."""
    ranges = sorted((event["ts"], event["ts"] + event["dur"], event["name"][5:]) for events in trace.host.values()
                    for event in events if event["name"].startswith("case:"))
    starts, found = [each[0] for each in ranges], defaultdict(lambda: defaultdict(list))
    for kernel in trace.kernels:
        issued = trace.issued(kernel)
        place = bisect.bisect_right(starts, issued) - 1
        if place < 0 or issued > ranges[place][1]:
            continue
        key, number = ranges[place][2].rsplit("#", 1)
        op = op_of(trace.around(kernel))[0]
        found[key][int(number)].append((names.short(kernel["name"]), names.kind(kernel["name"], op), kernel["dur"], op))
    return found


def middle(runs):
    """Medians of the same kernel over runs, the first left out."""
    runs = [kernels for number, kernels in sorted(runs.items())][1:] or list(runs.values())
    length = min(len(kernels) for kernels in runs)
    result = []
    for place in range(length):
        times = sorted(kernels[place][2] for kernels in runs)
        name, kind, _, op = runs[-1][place]
        result.append([name, kind, round(times[len(times) // 2], 2), op.replace("aten::", "")])
    return result
