// The frozen baseline of gemm_bf16 on a processor: the textbook loops.
#include <cstdint>
#include <cstring>

namespace {

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

extern "C" void kernel(const uint16_t* a, const uint16_t* b, uint16_t* c, int64_t m, int64_t n, int64_t k) {
    for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n; ++j) {
            float sum = 0.0F;
            for (int64_t l = 0; l < k; ++l) {
                sum += widen(a[i * k + l]) * widen(b[j * k + l]);
            }
            c[i * n + j] = narrow(sum);
        }
    }
}
