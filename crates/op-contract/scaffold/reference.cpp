// The fp64 oracle of @NAME@ and its laws. Compiled on its own and run in a process of its own.
#include <cmath>
#include <cstdint>

namespace {

// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;

}  // namespace

// Inputs, then for each output its values and scales, then the axes, then the range of the partition axis.
// `begin` belongs to index 0 of the outputs.
extern "C" void reference(const float* x, double* y, double* y_scale, int64_t n, int64_t begin, int64_t end) {
    (void)n;
    for (int64_t index = begin; index < end; ++index) {
        const double v = x[index];
        // EDIT: the operation, in double precision.
        y[index - begin] = v / (1.0 + std::fabs(v));
        // EDIT: the magnitude against which one rounding error of f32 counts. Where nothing cancels it is the result's
        // own; where an intermediate value is larger than the result, it is that value's.
        const double magnitude = std::fabs(y[index - begin]);
        y_scale[index - begin] = magnitude + negligible;
    }
}

// A law returns its worst violation as a multiple of what is allowed: at most 1 for a right output.
// Here: the result lies in [-1, 1] and has the sign of its input.
extern "C" double bounds(const float* x, const float* y, int64_t n) {
    for (int64_t index = 0; index < n; ++index) {
        const double v = x[index];
        const double out = y[index];
        // EDIT: what holds for every right output, with room for rounding, as low <= out <= high.
        const double low = v < 0.0 ? -1.0 : 0.0;
        const double high = v > 0.0 ? 1.0 : 0.0;
        const double room = 0x1p-20 * (1.0 + std::fabs(v));
        if (!(out >= low - room) || !(out <= high + room)) {
            return 2.0;
        }
    }
    return 0.0;
}
