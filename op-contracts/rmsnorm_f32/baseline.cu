// The frozen baseline of rmsnorm_f32 on a GPU: what one writes first. One block a row, one element at a time.
extern "C" __global__ void rmsnorm(const float* x, const float* w, float* y, long long rows,
                                   long long cols) {
    __shared__ float partial[256];
    const long long row = blockIdx.x;
    if (row >= rows) {
        return;
    }
    const float* in = x + row * cols;
    float* out = y + row * cols;
    float sum = 0.0f;
    for (long long c = threadIdx.x; c < cols; c += blockDim.x) {
        const float value = in[c];
        sum += value * value;
    }
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            partial[threadIdx.x] += partial[threadIdx.x + half];
        }
        __syncthreads();
    }
    const float factor = 1.0f / sqrtf(partial[0] / (float)cols + 1e-6f);
    for (long long c = threadIdx.x; c < cols; c += blockDim.x) {
        out[c] = in[c] * factor * w[c];
    }
}
