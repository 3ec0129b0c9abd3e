// The fp64 oracle of rmsnorm_f32 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>

namespace {

constexpr double epsilon = 1e-6;
constexpr double roundoff = 0x1p-24;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;

double mean_square(const float* row, int64_t cols) {
    double sum = 0.0;
    for (int64_t c = 0; c < cols; ++c) {
        sum += static_cast<double>(row[c]) * row[c];
    }
    return sum / static_cast<double>(cols);
}

// How many roundings the sum of a row may cost, in units of the 16 that one element may cost. One accumulator drifts in
// proportion to the length once its rounding step is near the size of the addends.
double growth(int64_t cols) { return 1.0 + static_cast<double>(cols) / 32.0; }

}  // namespace

extern "C" void reference(const float* x, const float* w, double* y, double* y_scale, int64_t rows,
                          int64_t cols, int64_t begin, int64_t end) {
    (void)rows;
    for (int64_t r = begin; r < end; ++r) {
        const float* row = x + r * cols;
        const double factor = 1.0 / std::sqrt(mean_square(row, cols) + epsilon);
        for (int64_t c = 0; c < cols; ++c) {
            const int64_t index = (r - begin) * cols + c;
            y[index] = row[c] * factor * w[c];
            y_scale[index] = std::fabs(y[index]) * growth(cols) + negligible;
        }
    }
}

// With the weights divided out, the squares of a row sum to n * ms / (ms + epsilon). Columns whose weight is zero are
// left out on both sides.
extern "C" double row_norm(const float* x, const float* w, const float* y, int64_t rows, int64_t cols) {
    double worst = 0.0;
    const double relative = 2.0 * 16.0 * roundoff * growth(cols);
    for (int64_t r = 0; r < rows; ++r) {
        const double factor = 1.0 / (mean_square(x + r * cols, cols) + epsilon);
        double expected = 0.0;
        double got = 0.0;
        for (int64_t c = 0; c < cols; ++c) {
            if (w[c] != 0.0F) {
                const double in = x[r * cols + c];
                const double out = static_cast<double>(y[r * cols + c]) / w[c];
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
extern "C" double signs(const float* x, const float* w, const float* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
            const double product = static_cast<double>(x[r * cols + c]) * w[c];
            if (!(product * y[r * cols + c] >= 0.0) || (product == 0.0 && y[r * cols + c] != 0.0F)) {
                return 2.0;
            }
        }
    }
    return 0.0;
}
