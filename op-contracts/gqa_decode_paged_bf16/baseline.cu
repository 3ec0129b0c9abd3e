// The frozen baseline of gqa_decode_paged_bf16 on a GPU: what one writes first. One warp a query head, one token after the
// other with an online softmax; every lane has four elements of the head.
#include <cuda_bf16.h>

extern "C" __global__ void gqa_decode(const __nv_bfloat16* q, const __nv_bfloat16* k, const __nv_bfloat16* v,
                                      const int* kv_indptr, const int* kv_indices, __nv_bfloat16* o, float* lse,
                                      long long batch, long long tokens, long long pages, float sm_scale) {
    const long long index = (long long)blockIdx.x * 4 + threadIdx.x / 32;
    const int lane = threadIdx.x % 32;
    if (index >= 32 * batch) {
        return;
    }
    const long long row = index / 32;
    const long long head = index % 32 / 8;
    float query[4];
    float sums[4] = {};
    for (int e = 0; e < 4; ++e) {
        query[e] = __bfloat162float(q[index * 128 + lane * 4 + e]) * sm_scale * 1.4426950408889634f;
    }
    float top = __int_as_float(0xff800000);  // minus infinity
    float sum = 0.0f;
    for (int at = kv_indptr[row]; at < kv_indptr[row + 1]; ++at) {
        const long long place = ((long long)kv_indices[at] * 4 + head) * 128 + lane * 4;
        float score = 0.0f;
        for (int e = 0; e < 4; ++e) {
            score += query[e] * __bfloat162float(k[place + e]);
        }
        for (int step = 16; step > 0; step /= 2) {
            score += __shfl_xor_sync(0xffffffffu, score, step);
        }
        const float higher = fmaxf(top, score);
        const float keep = exp2f(top - higher);
        const float weight = exp2f(score - higher);
        top = higher;
        sum = sum * keep + weight;
        for (int e = 0; e < 4; ++e) {
            sums[e] = sums[e] * keep + weight * __bfloat162float(v[place + e]);
        }
    }
    for (int e = 0; e < 4; ++e) {
        o[index * 128 + lane * 4 + e] = __float2bfloat16(sum > 0.0f ? sums[e] / sum : 0.0f);
    }
    if (lane == 0) {
        lse[index] = top + log2f(sum);
    }
}
