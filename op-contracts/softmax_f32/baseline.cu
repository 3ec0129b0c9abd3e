// The frozen baseline of softmax_f32 on a GPU: what one writes first. One block a row, one element at a time.
extern "C" __global__ void softmax(const float* x, float* y, long long rows, long long cols) {
    __shared__ float partial[256];
    const long long row = blockIdx.x;
    if (row >= rows) {
        return;
    }
    const float* in = x + row * cols;
    float* out = y + row * cols;
    float top = __int_as_float(0xff800000);  // minus infinity
    for (long long c = threadIdx.x; c < cols; c += blockDim.x) {
        top = fmaxf(top, in[c]);
    }
    partial[threadIdx.x] = top;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            partial[threadIdx.x] = fmaxf(partial[threadIdx.x], partial[threadIdx.x + half]);
        }
        __syncthreads();
    }
    top = partial[0];
    __syncthreads();
    float sum = 0.0f;
    for (long long c = threadIdx.x; c < cols; c += blockDim.x) {
        sum += expf(in[c] - top);
    }
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) {
            partial[threadIdx.x] += partial[threadIdx.x + half];
        }
        __syncthreads();
    }
    sum = partial[0];
    for (long long c = threadIdx.x; c < cols; c += blockDim.x) {
        out[c] = expf(in[c] - top) / sum;
    }
}
