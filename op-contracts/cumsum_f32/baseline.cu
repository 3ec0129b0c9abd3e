// The frozen baseline of cumsum_f32 on a GPU: what one writes first. One block a row; the block scans as many elements as it has
// threads, then goes on with what the last one held.
extern "C" __global__ void cumsum(const float* x, float* y, long long rows, long long cols) {
    __shared__ float sums[256];
    const long long row = blockIdx.x;
    if (row >= rows) {
        return;
    }
    float before = 0.0f;
    for (long long first = 0; first < cols; first += blockDim.x) {
        const long long c = first + threadIdx.x;
        sums[threadIdx.x] = c < cols ? x[row * cols + c] : 0.0f;
        __syncthreads();
        for (int step = 1; step < blockDim.x; step *= 2) {
            const float other = threadIdx.x >= step ? sums[threadIdx.x - step] : 0.0f;
            __syncthreads();
            sums[threadIdx.x] += other;
            __syncthreads();
        }
        if (c < cols) {
            y[row * cols + c] = before + sums[threadIdx.x];
        }
        before += sums[blockDim.x - 1];
        __syncthreads();
    }
}
