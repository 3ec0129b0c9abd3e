// The frozen baseline of silu_mul_bf16 on a GPU: what one writes first. One thread an element.
#include <cuda_bf16.h>

extern "C" __global__ void silu_mul(const __nv_bfloat16* gate, const __nv_bfloat16* up, __nv_bfloat16* y, long long rows,
                                    long long cols) {
    const long long index = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (index >= rows * cols) {
        return;
    }
    const float g = __bfloat162float(gate[index]);
    y[index] = __float2bfloat16(g / (1.0f + expf(-g)) * __bfloat162float(up[index]));
}
