// The frozen baseline of gemm_f32 on a GPU: tiles of 64 x 64 through shared memory, 4 x 4 sums a thread, f32 arithmetic.
extern "C" __global__ void __launch_bounds__(256) gemm(const float* a, const float* b, float* c,
                                                       long long m, long long n, long long k) {
    constexpr int kTile = 64;
    constexpr int kDepth = 16;
    // One column more, so that a column lies in different banks.
    __shared__ float left[kDepth][kTile + 1];
    __shared__ float right[kDepth][kTile + 1];
    const long long row0 = (long long)blockIdx.y * kTile;
    const long long col0 = (long long)blockIdx.x * kTile;
    const int tx = threadIdx.x % 16;
    const int ty = threadIdx.x / 16;
    float sums[4][4] = {};
    for (long long l0 = 0; l0 < k; l0 += kDepth) {
        for (int index = threadIdx.x; index < kTile * kDepth; index += 256) {
            const int line = index / kDepth;
            const int depth = index % kDepth;
            const bool in_k = l0 + depth < k;
            left[depth][line] = in_k && row0 + line < m ? a[(row0 + line) * k + l0 + depth] : 0.0f;
            right[depth][line] = in_k && col0 + line < n ? b[(l0 + depth) * n + col0 + line] : 0.0f;
        }
        __syncthreads();
        for (int depth = 0; depth < kDepth; ++depth) {
            for (int i = 0; i < 4; ++i) {
                for (int j = 0; j < 4; ++j) {
                    sums[i][j] += left[depth][ty + 16 * i] * right[depth][tx + 16 * j];
                }
            }
        }
        __syncthreads();
    }
    for (int i = 0; i < 4; ++i) {
        for (int j = 0; j < 4; ++j) {
            const long long row = row0 + ty + 16 * i;
            const long long col = col0 + tx + 16 * j;
            if (row < m && col < n) {
                c[row * n + col] = sums[i][j];
            }
        }
    }
}
