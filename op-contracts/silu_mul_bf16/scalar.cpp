// The frozen baseline of silu_mul_bf16 on a processor: what one writes first.
#include <cmath>
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

extern "C" void kernel(const uint16_t* gate, const uint16_t* up, uint16_t* y, int64_t rows, int64_t cols) {
    for (int64_t index = 0; index < rows * cols; ++index) {
        const float g = widen(gate[index]);
        y[index] = narrow(g / (1.0F + std::exp(-g)) * widen(up[index]));
    }
}
