// The fp64 oracle of silu_mul_bf16 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

// Results below this size, times up, may be flushed to zero: f32 exponentials overflow beyond 88.7.
constexpr double negligible = 0x1p-80;

// A bf16 word is the upper half of a float.
double widen(uint16_t word) {
    const uint32_t bits = static_cast<uint32_t>(word) << 16;
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

}  // namespace

extern "C" void reference(const uint16_t* gate, const uint16_t* up, double* y, double* y_scale, int64_t rows,
                          int64_t cols, int64_t begin, int64_t end) {
    (void)rows;
    for (int64_t index = begin * cols; index < end * cols; ++index) {
        const double g = widen(gate[index]);
        const double u = widen(up[index]);
        const int64_t at = index - begin * cols;
        y[at] = g / (1.0 + std::exp(-g)) * u;
        y_scale[at] = std::fabs(y[at]) * (1.0 + std::fabs(g) / 4.0) + negligible * (1.0 + std::fabs(u));
    }
}

// silu lies between -0.27847 and its argument's positive part, has the sign of its argument, and
// silu(g) - silu(-g) = g gives |silu(g)| >= g / 2 for g >= 0.
extern "C" double bounds(const uint16_t* gate, const uint16_t* up, const uint16_t* y, int64_t rows, int64_t cols) {
    constexpr double slack = 1.0 + 0x1p-7;
    for (int64_t index = 0; index < rows * cols; ++index) {
        const double g = widen(gate[index]);
        const double u = std::fabs(widen(up[index]));
        const double out = widen(up[index]) < 0.0 ? -widen(y[index]) : widen(y[index]);
        const double low = g > 0.0 ? 0.5 * g * u / slack : -0.278465 * u * slack;
        const double high = g > 0.0 ? g * u * slack : 0.0;
        const double floor = negligible * (1.0 + u);
        if (!(out >= low - floor) || !(out <= high + floor)) {
            return 2.0;
        }
    }
    return 0.0;
}
