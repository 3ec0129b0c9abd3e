// The frozen baseline of merge_state_bf16 on a processor: what one writes first.
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr int64_t kHeads = 32;
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

extern "C" void kernel(const uint16_t* v_a, const float* s_a, const uint16_t* v_b, const float* s_b, uint16_t* v, float* s,
                       int64_t n) {
    for (int64_t head = 0; head < n * kHeads; ++head) {
        const float top = std::fmax(s_a[head], s_b[head]);
        // Nothing on either side: no weights, and no difference of infinities.
        const float base = std::isinf(top) ? 0.0F : top;
        const float a = std::exp2(s_a[head] - base);
        const float b = std::exp2(s_b[head] - base);
        const float sum = a + b;
        s[head] = base + std::log2(sum);
        for (int64_t e = 0; e < kWidth; ++e) {
            const float mixed = a * widen(v_a[head * kWidth + e]) + b * widen(v_b[head * kWidth + e]);
            v[head * kWidth + e] = narrow(sum > 0.0F ? mixed / sum : 0.0F);
        }
    }
}
