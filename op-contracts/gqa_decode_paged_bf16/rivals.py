"""Other people's kernels for this operation; docs/cuda.md says how they are called."""


def _wrapper(kit, tensor_cores):
    torch, library = kit.torch, kit.needs("flashinfer")
    q, k, v = kit["q"], kit["k"], kit["v"]
    indptr, indices = kit["kv_indptr"], kit["kv_indices"]
    room = torch.empty(256 << 20, dtype=torch.uint8, device=q.device)
    wrapper = library.BatchDecodeWithPagedKVCacheWrapper(room, "NHD", use_tensor_cores=tensor_cores)
    last = torch.ones(q.shape[0], dtype=torch.int32, device=q.device)
    # Planning happens once for many layers and is not timed.
    wrapper.plan(
        indptr, indices, last, q.shape[1], k.shape[2], q.shape[2], k.shape[1],
        q_data_type=q.dtype, kv_data_type=k.dtype, sm_scale=kit.scalars["sm_scale"],
    )
    return lambda: wrapper.run(q, (k, v), return_lse=True)


def flashinfer(kit):
    return _wrapper(kit, True)
