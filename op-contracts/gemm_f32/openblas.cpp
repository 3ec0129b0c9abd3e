// A rival of gemm_f32: OpenBLAS on all cores. The prototype stands here so that no header is needed; 101 and 111 are
// CblasRowMajor and CblasNoTrans of the CBLAS interface.
#include <cstdint>

extern "C" void cblas_sgemm(int order, int transpose_a, int transpose_b, int m, int n, int k, float alpha,
                            const float* a, int lda, const float* b, int ldb, float beta, float* c, int ldc);

extern "C" void kernel(const float* a, const float* b, float* c, int64_t m, int64_t n, int64_t k) {
    if (m == 0) {
        return;
    }
    const int rows = static_cast<int>(m);
    const int cols = static_cast<int>(n);
    const int depth = static_cast<int>(k);
    cblas_sgemm(101, 111, 111, rows, cols, depth, 1.0F, a, depth, b, cols, 0.0F, c, cols);
}
