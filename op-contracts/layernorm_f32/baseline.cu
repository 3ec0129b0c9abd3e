// The frozen baseline of layernorm_f32 on a GPU: what one writes first. One block a row, one element at a time.
__device__ float block_sum(float value, float* partial) {
    partial[threadIdx.x] = value;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            partial[threadIdx.x] += partial[threadIdx.x + half];
        }
        __syncthreads();
    }
    const float sum = partial[0];
    __syncthreads();
    return sum;
}

extern "C" __global__ void layernorm(const float* x, const float* w, const float* b, float* y, long long rows,
                                     long long cols) {
    __shared__ float partial[256];
    const long long row = blockIdx.x;
    if (row >= rows) {
        return;
    }
    const float* in = x + row * cols;
    float sum = 0.0f;
    for (long long c = threadIdx.x; c < cols; c += blockDim.x) {
        sum += in[c];
    }
    const float mean = block_sum(sum, partial) / (float)cols;
    float squares = 0.0f;
    for (long long c = threadIdx.x; c < cols; c += blockDim.x) {
        squares += (in[c] - mean) * (in[c] - mean);
    }
    const float factor = 1.0f / sqrtf(block_sum(squares, partial) / (float)cols + 1e-5f);
    for (long long c = threadIdx.x; c < cols; c += blockDim.x) {
        y[row * cols + c] = (in[c] - mean) * factor * w[c] + b[c];
    }
}
