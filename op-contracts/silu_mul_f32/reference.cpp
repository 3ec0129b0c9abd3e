// The fp64 oracle of silu_mul_f32 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>

namespace {

// Results below this size, times up, may be flushed to zero: f32 exponentials overflow beyond 88.7.
constexpr double negligible = 0x1p-80;

}  // namespace

extern "C" void reference(const float* gate, const float* up, double* y, double* y_scale, int64_t rows, int64_t cols,
                          int64_t begin, int64_t end) {
    (void)rows;
    for (int64_t index = begin * cols; index < end * cols; ++index) {
        const double g = gate[index];
        const double u = up[index];
        const int64_t at = index - begin * cols;
        y[at] = g / (1.0 + std::exp(-g)) * u;
        y_scale[at] = std::fabs(y[at]) * (1.0 + std::fabs(g) / 4.0) + negligible * (1.0 + std::fabs(u));
    }
}

// silu lies between -0.27847 and its argument's positive part, has the sign of its argument, and
// silu(g) - silu(-g) = g gives |silu(g)| >= g / 2 for g >= 0.
extern "C" double bounds(const float* gate, const float* up, const float* y, int64_t rows, int64_t cols) {
    constexpr double slack = 1.0 + 0x1p-14;
    for (int64_t index = 0; index < rows * cols; ++index) {
        const double g = gate[index];
        const double u = std::fabs(static_cast<double>(up[index]));
        const double out = up[index] < 0.0F ? -static_cast<double>(y[index]) : static_cast<double>(y[index]);
        const double low = g > 0.0 ? 0.5 * g * u / slack : -0.278465 * u * slack;
        const double high = g > 0.0 ? g * u * slack : 0.0;
        const double floor = negligible * (1.0 + u);
        if (!(out >= low - floor) || !(out <= high + floor)) {
            return 2.0;
        }
    }
    return 0.0;
}
