// The frozen baseline of softmax_f32: what one writes first.
#include <cmath>
#include <cstdint>

extern "C" void kernel(const float* x, float* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        const float* in = x + r * cols;
        float* out = y + r * cols;
        float top = in[0];
        for (int64_t c = 1; c < cols; ++c) {
            top = in[c] > top ? in[c] : top;
        }
        float sum = 0.0F;
        for (int64_t c = 0; c < cols; ++c) {
            out[c] = std::exp(in[c] - top);
            sum += out[c];
        }
        const float factor = 1.0F / sum;
        for (int64_t c = 0; c < cols; ++c) {
            out[c] *= factor;
        }
    }
}
