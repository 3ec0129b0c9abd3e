"""Other people's kernels for this operation; docs/cuda.md says how they are called."""


def torch_compile(kit):
    torch = kit.torch

    def merge(v_a, s_a, v_b, s_b):
        top = torch.maximum(s_a, s_b)
        a, b = torch.exp2(s_a - top), torch.exp2(s_b - top)
        total = a + b
        v = (a[..., None] * v_a.float() + b[..., None] * v_b.float()) / total[..., None]
        return v.to(v_a.dtype), top + torch.log2(total)

    return kit.compile(merge, kit["v_a"], kit["s_a"], kit["v_b"], kit["s_b"])


def flashinfer(kit):
    library = kit.needs("flashinfer")
    v_a, s_a, v_b, s_b = kit["v_a"], kit["s_a"], kit["v_b"], kit["s_b"]
    return lambda: library.merge_state(v_a, s_a, v_b, s_b)
