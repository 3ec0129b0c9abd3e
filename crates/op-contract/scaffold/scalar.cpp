// The frozen baseline of @NAME@: what one writes first. Compiled with -O3 -march=native.
#include <cmath>
#include <cstdint>

extern "C" void kernel(const float* x, float* y, int64_t n) {
    for (int64_t index = 0; index < n; ++index) {
        const float v = x[index];
        // EDIT: the operation.
        y[index] = v / (1.0F + std::fabs(v));
    }
}
