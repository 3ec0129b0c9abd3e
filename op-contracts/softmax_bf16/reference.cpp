// The fp64 oracle of softmax_bf16 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>
#include <cstring>

namespace {

constexpr double ulps = 16.0;
constexpr double roundoff = 0x1p-24;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;
// Relative error of the rounding to bf16.
constexpr double storage = 0x1p-8;

// A bf16 word is the upper half of a float.
double widen(uint16_t word) {
    const uint32_t bits = static_cast<uint32_t>(word) << 16;
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

double maximum(const uint16_t* row, int64_t cols) {
    double result = widen(row[0]);
    for (int64_t c = 1; c < cols; ++c) {
        result = std::fmax(result, widen(row[c]));
    }
    return result;
}

double sum_of_exponentials(const uint16_t* row, double top, int64_t cols) {
    double sum = 0.0;
    for (int64_t c = 0; c < cols; ++c) {
        sum += std::exp(widen(row[c]) - top);
    }
    return sum;
}

// What the sum of a row may cost, in units of the 16 roundings that one element may cost. One accumulator drifts in
// proportion to the length once its rounding step is near the size of the addends.
double sum_growth(int64_t cols) { return static_cast<double>(cols) / 16.0; }

// The exponential turns an absolute error of its argument into a relative one; the sum of a row adds its own.
double scale(double y, double argument, int64_t cols) {
    return y * (1.0 + std::fabs(argument) / 4.0 + sum_growth(cols)) + negligible;
}

}  // namespace

extern "C" void reference(const uint16_t* x, double* y, double* y_scale, int64_t rows, int64_t cols, int64_t begin,
                          int64_t end) {
    (void)rows;
    for (int64_t r = begin; r < end; ++r) {
        const uint16_t* row = x + r * cols;
        const double top = maximum(row, cols);
        const double sum = sum_of_exponentials(row, top, cols);
        for (int64_t c = 0; c < cols; ++c) {
            const int64_t index = (r - begin) * cols + c;
            y[index] = std::exp(widen(row[c]) - top) / sum;
            y_scale[index] = scale(y[index], widen(row[c]) - top, cols);
        }
    }
}

// Every row sums to 1 within the sum of the bounds of its elements.
extern "C" double row_sums(const uint16_t* x, const uint16_t* y, int64_t rows, int64_t cols) {
    double worst = 0.0;
    for (int64_t r = 0; r < rows; ++r) {
        const uint16_t* row = x + r * cols;
        const double top = maximum(row, cols);
        const double total = sum_of_exponentials(row, top, cols);
        double sum = 0.0;
        double allowed = 0.0;
        for (int64_t c = 0; c < cols; ++c) {
            const double argument = widen(row[c]) - top;
            const double expected = std::exp(argument) / total;
            sum += widen(y[r * cols + c]);
            allowed += ulps * roundoff * scale(expected, argument, cols) + storage * expected;
        }
        const double violation = std::fabs(sum - 1.0) / (allowed * (1.0 + storage));
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}

// Outputs lie in [0, 1], equal inputs of a row give outputs that agree within rounding, and the largest input gives
// the largest output.
extern "C" double range_and_order(const uint16_t* x, const uint16_t* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        const uint16_t* in = x + r * cols;
        const uint16_t* out = y + r * cols;
        const double top = maximum(in, cols);
        double largest = 0.0;
        double at_top = 1.0;
        for (int64_t c = 0; c < cols; ++c) {
            if (!(widen(out[c]) >= 0.0)) {
                return 2.0;
            }
            largest = std::fmax(largest, widen(out[c]));
            if (widen(in[c]) == top) {
                at_top = std::fmin(at_top, widen(out[c]));
            }
        }
        const double slack = 2.0 * (ulps * roundoff * (1.0 + sum_growth(cols)) + storage);
        if (!(largest <= at_top * (1.0 + slack)) || !(largest <= 1.0 + slack)) {
            return 2.0;
        }
    }
    return 0.0;
}
