"""Short names and classes of kernels."""
import re

PRODUCTS = re.compile(r"gemm|nvjet|cutlass(?!.*(fmha|flash))|s16816|xmma|splitK|cublas|gemv|dot_kernel", re.I)
GROUPED = re.compile(r"grouped|GroupProblemShape|prepare_grouped", re.I)
ATTENTION = re.compile(r"flash|fmha|cudnn_generated|sdpa|mem_eff|attention|pytorch_flash", re.I)
GATHER = re.compile(r"index(?!.*arange)|gather|scatter|sort|topk|embedding|radix|bitonic|unique|scan|histogram|nonzero"
                    r"|compact|write_num_rows|compute_cuda_kernel|krn_partial|sum_and_scatter|segment|where", re.I)
LOSS = re.compile(r"nll_loss", re.I)
UPDATE = re.compile(r"FusedOptimizer|fused_adam", re.I)


def short(name):
    """Kernel and what it does, without template arguments."""
    name = re.sub(r"\(anonymous namespace\)::|^void |c10::|std::", "", name)
    head = re.split(r"[<(]", name)[0].split("::")[-1]
    inside = name[name.find("<"):] if "<" in name else ""
    found = re.findall(r"at::native::(?:\w+::)*(\w+)", inside)
    found = [each for each in found if each not in (head, "func_wrapper_t", "TensorListMetadata", "Memory", "memory")]
    detail = next((each for each in found if re.search(r"Functor|_kernel|Op|op|functor", each)),
                  found[0] if found else "")
    return (head + ("<" + detail + ">" if detail else ""))[:70] if head else name[:70]


def kind_of(name):
    """Class of a kernel by its name alone: the op that launched it may know better."""
    if name.startswith("Memcpy") or name.startswith("Memset"):
        return "copy"
    if "nccl" in name.lower():
        return "communication"
    for pattern, kind in ((UPDATE, "update"), (ATTENTION, "attention"), (GROUPED, "grouped"), (PRODUCTS, "products"),
                          (LOSS, "loss"), (GATHER, "gather_scatter")):
        if pattern.search(name):
            return kind
    return "streaming"


BY_OP = (("grouped_mm", "grouped"), ("scaled_dot_product", "attention"), ("nll_loss", "loss"),
         ("flash_attention", "attention"),
         ("efficient_attention", "attention"), ("_fused_adam", "update"), ("aten::index", "gather_scatter"),
         ("aten::gather", "gather_scatter"), ("aten::scatter", "gather_scatter"), ("sort", "gather_scatter"),
         ("topk", "gather_scatter"),
         ("histc", "gather_scatter"), ("cumsum", "gather_scatter"), ("nonzero", "gather_scatter"),
         ("embedding", "gather_scatter"),
         ("one_hot", "gather_scatter"), ("bincount", "gather_scatter"))


def kind(kernel, op, shapes=(), vocabulary=None):
    """Class of a kernel: products and attention by name, the rest by the op; over a vocabulary it is the loss's."""
    own = kind_of(kernel)
    if own in ("products", "attention", "update", "communication", "grouped"):
        return "grouped" if "grouped_mm" in op and own == "products" else own
    if own == "copy" and "DtoH" in kernel:
        return "host"
    if vocabulary and any(shape and isinstance(shape, (list, tuple)) and shape[-1] == vocabulary for shape in shapes) \
            and "embedding" not in op and "foreach" not in op and "add_" not in op:
        return "loss"
    for part, name in BY_OP:
        if part in op:
            return name
    return "streaming" if own == "copy" else own
