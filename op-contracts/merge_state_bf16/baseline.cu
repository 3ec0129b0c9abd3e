// The frozen baseline of merge_state_bf16 on a GPU: what one writes first. One block a head, one thread an element.
#include <cuda_bf16.h>

extern "C" __global__ void merge_state(const __nv_bfloat16* v_a, const float* s_a, const __nv_bfloat16* v_b,
                                       const float* s_b, __nv_bfloat16* v, float* s, long long n) {
    const long long head = blockIdx.x;
    if (head >= 32 * n) {
        return;
    }
    const float top = fmaxf(s_a[head], s_b[head]);
    const float base = isinf(top) ? 0.0f : top;
    const float a = exp2f(s_a[head] - base);
    const float b = exp2f(s_b[head] - base);
    const float sum = a + b;
    const long long index = head * 128 + threadIdx.x;
    const float mixed = a * __bfloat162float(v_a[index]) + b * __bfloat162float(v_b[index]);
    v[index] = __float2bfloat16(sum > 0.0f ? mixed / sum : 0.0f);
    if (threadIdx.x == 0) {
        s[head] = base + log2f(sum);
    }
}
