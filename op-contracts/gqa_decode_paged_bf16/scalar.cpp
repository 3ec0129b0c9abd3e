// The frozen baseline of gqa_decode_paged_bf16 on a processor: what one writes first.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace {

constexpr int64_t kQueryHeads = 32;
constexpr int64_t kKvHeads = 4;
constexpr int64_t kWidth = 128;

float widen(uint16_t word) {
    const uint32_t bits = static_cast<uint32_t>(word) << 16;
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

// To nearest, ties to even; NaN stays NaN.
uint16_t narrow(float value) {
    uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) {
        return static_cast<uint16_t>((bits >> 16) | 0x40U);
    }
    return static_cast<uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace

extern "C" void kernel(const uint16_t* q, const uint16_t* k, const uint16_t* v, const int32_t* kv_indptr,
                       const int32_t* kv_indices, uint16_t* o, float* lse, int64_t batch, int64_t tokens, int64_t pages,
                       float sm_scale) {
    (void)tokens;
    (void)pages;
    std::vector<float> weights;
    for (int64_t index = 0; index < batch * kQueryHeads; ++index) {
        const int64_t row = index / kQueryHeads;
        const int64_t head = index % kQueryHeads / (kQueryHeads / kKvHeads);
        const int64_t first = kv_indptr[row];
        const int64_t count = kv_indptr[row + 1] - first;
        weights.assign(static_cast<size_t>(count), 0.0F);
        float top = -std::numeric_limits<float>::infinity();
        for (int64_t t = 0; t < count; ++t) {
            const uint16_t* key = k + (kv_indices[first + t] * kKvHeads + head) * kWidth;
            float dot = 0.0F;
            for (int64_t e = 0; e < kWidth; ++e) {
                dot += widen(q[index * kWidth + e]) * widen(key[e]);
            }
            weights[t] = dot * sm_scale;
            top = std::fmax(top, weights[t]);
        }
        float sum = 0.0F;
        float sums[kWidth] = {};
        for (int64_t t = 0; t < count; ++t) {
            const float weight = std::exp(weights[t] - top);
            const uint16_t* value = v + (kv_indices[first + t] * kKvHeads + head) * kWidth;
            sum += weight;
            for (int64_t e = 0; e < kWidth; ++e) {
                sums[e] += weight * widen(value[e]);
            }
        }
        lse[index] = count > 0 ? top * 1.4426950408889634F + std::log2(sum) : top;
        for (int64_t e = 0; e < kWidth; ++e) {
            o[index * kWidth + e] = narrow(count > 0 ? sums[e] / sum : 0.0F);
        }
    }
}
