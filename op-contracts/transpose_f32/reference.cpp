// The oracle of transpose_f32 and its laws. Nothing is rounded, so that the scale is zero.
#include <cstdint>
#include <cstring>

extern "C" void reference(const float* x, double* y, double* y_scale, int64_t rows, int64_t cols, int64_t begin,
                          int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
        for (int64_t r = 0; r < rows; ++r) {
            y[(c - begin) * rows + r] = x[r * cols + c];
            y_scale[(c - begin) * rows + r] = 0.0;
        }
    }
}

// Transposing the output again gives the input, bit for bit.
extern "C" double involution(const float* x, const float* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        for (int64_t c = 0; c < cols; ++c) {
            if (std::memcmp(&x[r * cols + c], &y[c * rows + r], sizeof(float)) != 0) {
                return 2.0;
            }
        }
    }
    return 0.0;
}

// Row sums of the input are column sums of the output. The same numbers are added in the same order in fp64: the two
// agree exactly.
extern "C" double sums(const float* x, const float* y, int64_t rows, int64_t cols) {
    for (int64_t r = 0; r < rows; ++r) {
        double in = 0.0;
        double out = 0.0;
        for (int64_t c = 0; c < cols; ++c) {
            in += x[r * cols + c];
            out += y[c * rows + r];
        }
        if (!(in == out)) {
            return 2.0;
        }
    }
    return 0.0;
}
