// The fp64 oracle of layernorm_f32 and its laws. See README.md for the derivation of the scale.
#include <cmath>
#include <cstdint>

namespace {

constexpr double epsilon = 1e-5;
constexpr double ulps = 16.0;
constexpr double roundoff = 0x1p-24;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;

struct Row {
    double mean;
    double mean_magnitude;
    double variance;
    double factor;
};

Row statistics(const float* row, int64_t cols) {
    const double count = static_cast<double>(cols);
    double sum = 0.0;
    double magnitude = 0.0;
    for (int64_t c = 0; c < cols; ++c) {
        sum += row[c];
        magnitude += std::fabs(static_cast<double>(row[c]));
    }
    const double mean = sum / count;
    double squares = 0.0;
    for (int64_t c = 0; c < cols; ++c) {
        squares += (row[c] - mean) * (row[c] - mean);
    }
    const double variance = squares / count;
    return {mean, magnitude / count, variance, 1.0 / std::sqrt(variance + epsilon)};
}

// The normalised value costs a few roundings and half the relative error of the variance, whose sum drifts in proportion
// to the length once the rounding step of one accumulator is near the size of the addends; the mean costs roundings of
// the size of the values themselves, which is what hurts when the mean is large against the deviation.
double scale(double x, const Row& row, double w, double b, int64_t cols) {
    const double count = static_cast<double>(cols);
    const double root = std::sqrt(count);
    const double centred = std::fabs(x - row.mean) * row.factor;
    const double offset = row.mean_magnitude * row.factor;
    return std::fabs(w) * (centred * (1.0 + count / 32.0) + offset * (1.0 + root / 4.0)) + std::fabs(b) + negligible;
}

}  // namespace

extern "C" void reference(const float* x, const float* w, const float* b, double* y, double* y_scale, int64_t rows,
                          int64_t cols, int64_t begin, int64_t end) {
    (void)rows;
    for (int64_t r = begin; r < end; ++r) {
        const float* in = x + r * cols;
        const Row row = statistics(in, cols);
        for (int64_t c = 0; c < cols; ++c) {
            const int64_t index = (r - begin) * cols + c;
            y[index] = (in[c] - row.mean) * row.factor * w[c] + b[c];
            y_scale[index] = scale(in[c], row, w[c], b[c], cols);
        }
    }
}

// With bias and weight removed, a row has mean 0 and variance var / (var + epsilon). Columns whose weight is zero say
// nothing about the row; their share is filled in from the input.
extern "C" double moments(const float* x, const float* w, const float* b, const float* y, int64_t rows, int64_t cols) {
    double worst = 0.0;
    for (int64_t r = 0; r < rows; ++r) {
        const float* in = x + r * cols;
        const Row row = statistics(in, cols);
        double sum = 0.0;
        double squares = 0.0;
        double allowed_sum = negligible;
        double allowed_squares = negligible;
        for (int64_t c = 0; c < cols; ++c) {
            double value = (in[c] - row.mean) * row.factor;
            if (w[c] != 0.0F) {
                const double error = ulps * roundoff * scale(in[c], row, w[c], b[c], cols) / std::fabs(w[c]);
                value = (static_cast<double>(y[r * cols + c]) - b[c]) / w[c];
                allowed_sum += error;
                allowed_squares += error * (2.0 * std::fabs(value) + error);
            }
            sum += value;
            squares += value * value;
        }
        const double expected = static_cast<double>(cols) * row.variance / (row.variance + epsilon);
        const double violation = std::fmax(std::fabs(sum) / allowed_sum, std::fabs(squares - expected) / allowed_squares);
        if (std::isnan(sum) || std::isnan(squares)) {
            return NAN;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}
