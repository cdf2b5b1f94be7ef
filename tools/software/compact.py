"""The findings of a run as one small document: what is committed."""
import json

PASS = {"forward": "F", "backward": "B", "recompute": "R", "update": "U"}


def grouped(rows):
    """Rows of a listing without shapes: experts have as many shapes as there are experts."""
    result = {}
    for pass_, part, op, _, _, nbytes, kernel, kind, count, time in rows:
        group = result.setdefault((PASS[pass_], part, op, kernel, kind), [0, 0, 0.0])
        group[0] += count
        group[1] += count * nbytes
        group[2] += count * time
    return [[*key, count, nbytes, round(time, 1)] for key, (count, nbytes, time) in result.items()]


def kept(rows):
    """What is kept by part and shape; for experts one by one, by part."""
    if len(rows) <= 60:
        return rows
    result = {}
    for part, shape, count, nbytes in rows:
        group = result.setdefault((part, shape[0]), [0, 0])
        group[0] += count
        group[1] += count * nbytes
    return [[*key, count, nbytes] for key, (count, nbytes) in result.items()]


NORMS = ("input_layernorm", "post_attention_layernorm")


def merged(rows):
    """Norms of a layer and the last one as one part; the same kernel of the same op counts on."""
    result = {}
    for *key, count, time in rows:
        key[1] = "norm" if key[1] in NORMS else key[1]
        group = result.setdefault(tuple(key), [0, 0.0])
        group[0] += count
        group[1] += count * time
    return [[*key, count, round(time / count, 1 if time > 100 * count else 2)] for key, (count, time) in result.items()]


def listing(value):
    rows = merged(value["kernels"])
    if len(rows) > 450:
        return {"columns": ["pass", "part", "op", "kernel", "class", "kernels", "bytes of all", "us of all"],
                "kernels": grouped(rows),
                "kept": kept(value["kept"]), "kept_bytes": value["kept_bytes"]}
    ops = {}
    for pass_, part, op, inputs, outputs, nbytes, kernel, *rest in rows:
        ops.setdefault((PASS[pass_], part, op, inputs[:56], outputs[:32], nbytes), []).append([kernel[:36], *rest])
    return {"columns": ["pass", "part", "op", "inputs", "outputs", "bytes of an op",
                        ["kernel", "class", "kernels", "us of one"]],
            "kernels": [[*op, *kernels] for op, kernels in ops.items()], "kept": kept(value["kept"]),
            "kept_bytes": value["kept_bytes"]}


def step(value):
    value = {key: each for key, each in value.items() if key not in ("took_s", "copies")}
    value["largest_us"] = [[kind, kernel[:44], count, time] for kind, kernel, count,
                           time in value.get("largest_us", [])[:6]]
    if "listing" in value:
        value["listing"] = listing(value["listing"])
    return value


def streams(value):
    """{op: {"bytes": of an element or token, "kernels": names, "times": [[elements or tokens, us]]}}"""
    result = {}
    for name, rows in value["ops"].items():
        names = next((row[3] for row in rows if len(row) > 3), [])
        result[name] = {"bytes": round(rows[-1][1] / rows[-1][0], 4), "times": [[row[0], row[2]] for row in rows]}
        if names:
            result[name]["kernels"] = [kernel[0] for kernel in names]
    return result


def products(times):
    """{name: {pass: {tokens or rows: us}}} with the kernels of a call added."""
    result = {}
    for key, kernels in times.items():
        parts = key.split("|")
        tokens = parts.pop(2 if len(parts) > 5 else 1)
        result.setdefault("|".join(parts[:-1]), {}).setdefault(parts[-1],
                                                               {})[tokens] = round(sum(kernel[1] for kernel in kernels),
            1)
    return result


def attention(times):
    result = {}
    for key, kernels in times.items():
        shape, way = key.split("|")[:6], key.split("|")[6:]
        result.setdefault("|".join(shape), {})["|".join(way)] = [round(sum(kernel[1] for kernel in kernels), 1),
            len(kernels)]
    return result


def names_of(times):
    """Kernels of each way to compute attention, from the last shape that has it."""
    return {"|".join(key.split("|")[6:]): [kernel[0] for kernel in kernels] for key,
            kernels in times.items() if "128|128" in key}


def block(value):
    if "kernels" not in value:
        return value
    result = {}
    for pass_, kernels in value["kernels"].items():
        if pass_ != "both":  # which begins with the forward pass
            result["kernels of the forward pass"] = len(kernels)
            continue
        groups = {}
        for name, kind, time in kernels:
            group = groups.setdefault((name, kind), [0, 0.0])
            group[0] += 1
            group[1] += time
        result[pass_] = [[*key, count, round(time, 1)] for key, (count, time) in groups.items()]
    return dict(value, kernels=result)


def compact(section, case, value):
    if section in ("steps", "held_out"):
        return step(value)
    if section == "streams":
        return streams(value)
    if section == "products" and "times" in value:
        return {"columns": "name, shape of the weight: pass: tokens (experts: rows): us",
                "times": products(value["times"])}
    if section == "attention":
        return {"columns": "batch|heads|kv heads|tokens|head|value head: backend|form|pass: [us, kernels]",
                "times": attention(value["times"]),
                "kernels": names_of(value["times"]), "failed": sorted(value["failed"])}
    if section == "compiled":
        return block(value)
    if section == "parallel" and isinstance(value, dict) and "classes_us" in value:
        return step(value)
    return value


def document(lines):
    """Of findings with the same name the last counts."""
    result = {"schema": "moesim.software/1"}
    for line in map(json.loads, lines):
        if "error" in line["value"]:
            continue
        if line["section"] == "machine":
            result["machine"] = line["value"]
        else:
            result.setdefault(line["section"], {})[line["case"]] = compact(line["section"], line["case"], line["value"])
    return result


def dump(result):
    """One finding a line, so that a change shows where it is."""
    text = []
    for section, cases in result.items():
        if not isinstance(cases, dict) or section == "machine":
            text.append(json.dumps(section) + ": " + json.dumps(cases))
            continue
        inner = ",\n".join("  " + json.dumps(case) + ": " + json.dumps(value, separators=(",", ":")) for case,
                           value in cases.items())
        text.append(json.dumps(section) + ": {\n" + inner + "}")
    return "{\n" + ",\n".join(text) + "\n}\n"
