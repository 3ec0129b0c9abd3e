// The fp64 oracle of cumsum_f32 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>

namespace {

constexpr double ulps = 16.0;
constexpr double roundoff = 0x1p-24;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;

// A prefix of `count` elements whose magnitudes sum to `magnitude`.
double scale(double magnitude, int64_t count) {
    return magnitude * (1.0 + std::sqrt(static_cast<double>(count)) / 4.0) + negligible;
}

}  // namespace

extern "C" void reference(const float* x, double* y, double* y_scale, int64_t rows, int64_t cols, int64_t begin,
                          int64_t end) {
    (void)rows;
    for (int64_t r = begin; r < end; ++r) {
        double sum = 0.0;
        double magnitude = 0.0;
        for (int64_t c = 0; c < cols; ++c) {
            const int64_t index = (r - begin) * cols + c;
            sum += x[r * cols + c];
            magnitude += std::fabs(static_cast<double>(x[r * cols + c]));
            y[index] = sum;
            y_scale[index] = scale(magnitude, c + 1);
        }
    }
}

// Neighbouring outputs differ by the input between them.
extern "C" double differences(const float* x, const float* y, int64_t rows, int64_t cols) {
    double worst = 0.0;
    for (int64_t r = 0; r < rows; ++r) {
        double before = 0.0;
        double magnitude = 0.0;
        for (int64_t c = 0; c < cols; ++c) {
            const double value = x[r * cols + c];
            const double after = y[r * cols + c];
            magnitude += std::fabs(value);
            const double allowed = 2.0 * ulps * roundoff * scale(magnitude, c + 1);
            const double violation = std::fabs(after - before - value) / allowed;
            if (std::isnan(violation)) {
                return violation;
            }
            worst = std::fmax(worst, violation);
            before = after;
        }
    }
    return worst;
}

// The last output of a row is the sum of the row.
extern "C" double last_is_sum(const float* x, const float* y, int64_t rows, int64_t cols) {
    double worst = 0.0;
    for (int64_t r = 0; r < rows; ++r) {
        double sum = 0.0;
        double magnitude = 0.0;
        for (int64_t c = cols - 1; c >= 0; --c) {
            sum += x[r * cols + c];
            magnitude += std::fabs(static_cast<double>(x[r * cols + c]));
        }
        const double allowed = ulps * roundoff * scale(magnitude, cols);
        const double violation = std::fabs(y[r * cols + cols - 1] - sum) / allowed;
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}
