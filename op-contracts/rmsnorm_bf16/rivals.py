"""Other people's kernels for this operation; docs/cuda.md says how they are called."""


def torch_compile(kit):
    torch, x, w = kit.torch, kit["x"], kit["w"]

    def rmsnorm(x, w):
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (wide * scale * w.float()).to(x.dtype)

    return kit.compile(rmsnorm, x, w)


def flashinfer(kit):
    library, x, w = kit.needs("flashinfer"), kit["x"], kit["w"]
    y = kit.torch.empty_like(x)

    def call():
        library.norm.rmsnorm(x, w, eps=1e-6, out=y)
        return y

    return call
