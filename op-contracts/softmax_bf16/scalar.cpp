// The frozen baseline of softmax_bf16 on a processor: what one writes first.
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

extern "C" void kernel(const uint16_t* x, uint16_t* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        const uint16_t* in = x + r * cols;
        uint16_t* out = y + r * cols;
        float top = widen(in[0]);
        for (int64_t c = 1; c < cols; ++c) {
            top = std::fmax(top, widen(in[c]));
        }
        float sum = 0.0F;
        for (int64_t c = 0; c < cols; ++c) {
            sum += std::exp(widen(in[c]) - top);
        }
        for (int64_t c = 0; c < cols; ++c) {
            out[c] = narrow(std::exp(widen(in[c]) - top) / sum);
        }
    }
}
