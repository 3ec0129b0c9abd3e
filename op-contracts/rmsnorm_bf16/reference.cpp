// The fp64 oracle of rmsnorm_bf16 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr double epsilon = 1e-6;
constexpr double roundoff = 0x1p-24;
// Relative error of the rounding to bf16.
constexpr double storage = 0x1p-8;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;

// A bf16 word is the upper half of a float.
double widen(uint16_t word) {
    const uint32_t bits = static_cast<uint32_t>(word) << 16;
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

double mean_square(const uint16_t* row, int64_t cols) {
    double sum = 0.0;
    for (int64_t c = 0; c < cols; ++c) {
        sum += widen(row[c]) * widen(row[c]);
    }
    return sum / static_cast<double>(cols);
}

// How many roundings the sum of a row may cost, in units of the 16 that one element may cost. One accumulator drifts in
// proportion to the length once its rounding step is near the size of the addends.
double growth(int64_t cols) { return 1.0 + static_cast<double>(cols) / 32.0; }

}  // namespace

extern "C" void reference(const uint16_t* x, const uint16_t* w, double* y, double* y_scale, int64_t rows, int64_t cols,
                          int64_t begin, int64_t end) {
    (void)rows;
    for (int64_t r = begin; r < end; ++r) {
        const uint16_t* row = x + r * cols;
        const double factor = 1.0 / std::sqrt(mean_square(row, cols) + epsilon);
        for (int64_t c = 0; c < cols; ++c) {
            const int64_t index = (r - begin) * cols + c;
            y[index] = widen(row[c]) * factor * widen(w[c]);
            y_scale[index] = std::fabs(y[index]) * growth(cols) + negligible;
        }
    }
}

// With the weights divided out, the squares of a row sum to n * ms / (ms + epsilon). Columns whose weight is zero are
// left out on both sides.
extern "C" double row_norm(const uint16_t* x, const uint16_t* w, const uint16_t* y, int64_t rows, int64_t cols) {
    double worst = 0.0;
    const double relative = 2.0 * (16.0 * roundoff * growth(cols) + storage * (1.0 + storage));
    for (int64_t r = 0; r < rows; ++r) {
        const double factor = 1.0 / (mean_square(x + r * cols, cols) + epsilon);
        double expected = 0.0;
        double got = 0.0;
        for (int64_t c = 0; c < cols; ++c) {
            const double weight = widen(w[c]);
            if (weight != 0.0) {
                const double in = widen(x[r * cols + c]);
                const double out = widen(y[r * cols + c]) / weight;
                expected += in * in * factor;
                got += out * out;
            }
        }
        const double violation = std::fabs(got - expected) / (relative * expected + negligible);
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}

// The sign of an output is the product of the signs of its input and its weight.
extern "C" double signs(const uint16_t* x, const uint16_t* w, const uint16_t* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
            const double product = widen(x[r * cols + c]) * widen(w[c]);
            const double out = widen(y[r * cols + c]);
            if (!(product * out >= 0.0) || (product == 0.0 && out != 0.0)) {
                return 2.0;
            }
        }
    }
    return 0.0;
}
