// The trusted kernels of the GPU harness: poison, questions about memory, cache flush, ceilings. Every parameter is one
// 64-bit word, every launch has blocks of 256 threads, and every loop strides over the grid.
#include <cuda_bf16.h>

typedef unsigned int u32;
typedef unsigned long long u64;

static const u64 FLOAT16 = 1;
static const u64 BFLOAT16 = 2;
static const u64 FLOAT32 = 3;

// SplitMix64's finaliser. Source: Steele, Lea and Flood, OOPSLA 2014.
static __device__ u64 mix(u64 secret, u64 place) {
    u64 word = secret + place * 0x9e3779b97f4a7c15ull;
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9ull;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebull;
    return word ^ (word >> 31);
}

// The poison of one 64-bit word. Of floating-point cells each is a signalling NaN with a payload of its own, which no arithmetic
// makes; blocks are random bits.
static __device__ u64 poison_of(u64 cell, u64 secret, u64 place) {
    const u64 random = mix(secret, place);
    if (cell == BFLOAT16 || cell == FLOAT16) {
        const u64 top = cell == BFLOAT16 ? 0x7f80 : 0x7c00;
        const u64 payloads = cell == BFLOAT16 ? 61 : 509;
        u64 word = 0;
        for (int part = 0; part < 4; part++) {
            const u64 bits = (random >> (16 * part)) & 0xffff;
            word |= (top | (1 + bits % payloads) | (bits & 0x8000)) << (16 * part);
        }
        return word;
    }
    if (cell == FLOAT32) {
        u64 word = 0;
        for (int part = 0; part < 2; part++) {
            const u64 bits = (random >> (32 * part)) & 0xffffffff;
            word |= (0x7f800000ull | (1 + bits % 0x3ffffe) | (bits & 0x80000000ull)) << (32 * part);
        }
        return word;
    }
    return random;
}

static __device__ u64 first() { return (u64)blockIdx.x * blockDim.x + threadIdx.x; }
static __device__ u64 stride() { return (u64)gridDim.x * blockDim.x; }

// A word of which only the first bytes belong to the range.
static __device__ u64 partial(const u64* words, u64 index, u64 bytes) {
    u64 word = 0;
    const unsigned char* from = (const unsigned char*)(words + index);
    for (u64 byte = 0; byte < bytes; byte++) {
        word |= (u64)from[byte] << (8 * byte);
    }
    return word;
}

static __device__ u64 mask(u64 bytes) { return bytes >= 8 ? ~0ull : (1ull << (8 * bytes)) - 1; }

extern "C" __global__ void kit_poison(u64 address, u64 bytes, u64 cell, u64 secret) {
    u64* words = (u64*)address;
    const u64 count = (bytes + 7) / 8;
    for (u64 index = first(); index < count; index += stride()) {
        const u64 word = poison_of(cell, secret, index);
        const u64 left = bytes - 8 * index;
        if (left >= 8) {
            words[index] = word;
        } else {
            for (u64 byte = 0; byte < left; byte++) {
                ((unsigned char*)(words + index))[byte] = (unsigned char)(word >> (8 * byte));
            }
        }
    }
}

// Floating-point cells are compared one by one, other memory in blocks of 16 bytes: a short integer may equal its poison by chance.
extern "C" __global__ void kit_find_poison(u64 address, u64 bytes, u64 cell, u64 secret, u64 answer) {
    const u64* words = (const u64*)address;
    if (cell == 0) {
        const u64 blocks = (bytes + 15) / 16;
        for (u64 block = first(); block < blocks; block += stride()) {
            bool same = true;
            for (u64 half = 0; half < 2 && 16 * block + 8 * half < bytes; half++) {
                const u64 index = 2 * block + half;
                const u64 left = bytes - 8 * index < 8 ? bytes - 8 * index : 8;
                same = same && ((partial(words, index, left) ^ poison_of(cell, secret, index)) & mask(left)) == 0;
            }
            if (same) {
                atomicMin((u64*)answer, block);
            }
        }
        return;
    }
    const u64 width = cell == FLOAT32 ? 4 : 2;
    const u64 per_word = 8 / width;
    const u64 count = (bytes + 7) / 8;
    for (u64 index = first(); index < count; index += stride()) {
        const u64 left = bytes - 8 * index < 8 ? bytes - 8 * index : 8;
        const u64 found = left == 8 ? words[index] : partial(words, index, left);
        const u64 differs = found ^ poison_of(cell, secret, index);
        for (u64 part = 0; part < left / width; part++) {
            if (((differs >> (8 * width * part)) & mask(width)) == 0) {
                atomicMin((u64*)answer, per_word * index + part);
                break;
            }
        }
    }
}

extern "C" __global__ void kit_find_change(u64 address, u64 bytes, u64 secret, u64 answer) {
    const u64* words = (const u64*)address;
    for (u64 index = first(); index < bytes / 8; index += stride()) {
        if (words[index] != poison_of(0, secret, index)) {
            atomicMin((u64*)answer, index / 2);
        }
    }
}

extern "C" __global__ void kit_find_non_finite(u64 address, u64 bytes, u64 cell, u64 answer) {
    const u64 width = cell == FLOAT32 ? 4 : 2;
    const u64 top = cell == FLOAT32 ? 0x7f800000ull : cell == BFLOAT16 ? 0x7f80 : 0x7c00;
    const u64* words = (const u64*)address;
    const u64 count = (bytes + 7) / 8;
    for (u64 index = first(); index < count; index += stride()) {
        const u64 left = bytes - 8 * index < 8 ? bytes - 8 * index : 8;
        const u64 found = left == 8 ? words[index] : partial(words, index, left);
        for (u64 part = 0; part < left / width; part++) {
            if (((found >> (8 * width * part)) & top) == top) {
                atomicMin((u64*)answer, 8 / width * index + part);
                break;
            }
        }
    }
}

extern "C" __global__ void kit_sum(u64 address, u64 bytes, u64 answer) {
    const u64* words = (const u64*)address;
    u64 sum = 0;
    const u64 count = (bytes + 7) / 8;
    for (u64 index = first(); index < count; index += stride()) {
        const u64 left = bytes - 8 * index < 8 ? bytes - 8 * index : 8;
        const u64 word = left == 8 ? words[index] : partial(words, index, left);
        sum += mix(word, index);
    }
    for (int lane = 16; lane > 0; lane /= 2) {
        sum += __shfl_xor_sync(0xffffffffu, sum, lane);
    }
    if (threadIdx.x % 32 == 0) {
        atomicAdd((u64*)answer, sum);
    }
}

static __device__ float widened(u64 cell, const void* tensor, u64 index) {
    if (cell == FLOAT32) {
        return ((const float*)tensor)[index];
    }
    const u32 bits = ((const unsigned short*)tensor)[index];
    if (cell == BFLOAT16) {
        return __uint_as_float(bits << 16);
    }
    // Half precision: the exponent is moved by a multiplication, which is exact, numbers below the normal ones included.
    const u32 top = (bits & 0x7c00) == 0x7c00 ? 0x7f800000 : 0;
    const float moved = __uint_as_float((bits & 0x7fff) << 13) * 5.192296858534828e33f;
    return __uint_as_float(__float_as_uint(moved) | top | (bits & 0x8000) << 16);
}

// Per row the largest difference over the root mean square of the second version; of every eighth row the worst one, in one word:
// the measure's bits above the row's number. A number that only one version has counts as infinitely far.
extern "C" __global__ void kit_differences(u64 ours, u64 theirs, u64 rows, u64 row_elements, u64 cell, u64 answers) {
    __shared__ float furthest[32], squares[32];
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = (blockDim.x + 31) / 32;
    for (u64 row = blockIdx.x; row < rows; row += gridDim.x) {
        float far = 0.0f, sum = 0.0f;
        for (u64 c = threadIdx.x; c < row_elements; c += blockDim.x) {
            const float one = widened(cell, (const void*)ours, row * row_elements + c);
            const float two = widened(cell, (const void*)theirs, row * row_elements + c);
            const bool finite = two - two == 0.0f;
            if (one != two && !(one != one && two != two)) {
                const float away = one > two ? one - two : two - one;
                far = away > far || finite != (one - one == 0.0f) ? (away - away == 0.0f ? away : 3e38f) : far;
            }
            sum += finite ? two * two : 0.0f;
        }
        for (int step = 16; step > 0; step /= 2) {
            const float other = __shfl_xor_sync(0xffffffffu, far, step);
            far = other > far ? other : far;
            sum += __shfl_xor_sync(0xffffffffu, sum, step);
        }
        if (lane == 0) {
            furthest[warp] = far;
            squares[warp] = sum;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            for (u32 other = 1; other < warps; other++) {
                far = furthest[other] > far ? furthest[other] : far;
                sum += squares[other];
            }
            const float measure = far / (sqrtf(sum / (float)row_elements) + 1e-30f);
            atomicMax((u64*)answers + row % 8, (u64)__float_as_uint(measure) << 32 | row);
        }
        __syncthreads();
    }
}

extern "C" __global__ void kit_flush(u64 address, u64 bytes) {
    ulonglong2* blocks = (ulonglong2*)address;
    for (u64 index = first(); index < bytes / 16; index += stride()) {
        blocks[index] = make_ulonglong2(index, address);
    }
}

extern "C" __global__ void kit_copy(u64 from, u64 to, u64 bytes) {
    const uint4* in = (const uint4*)from;
    uint4* out = (uint4*)to;
    const u64 count = bytes / 16;
    const u64 step = stride();
    u64 index = first();
    for (; index + 3 * step < count; index += 4 * step) {
        const uint4 a = __ldcs(in + index);
        const uint4 b = __ldcs(in + index + step);
        const uint4 c = __ldcs(in + index + 2 * step);
        const uint4 d = __ldcs(in + index + 3 * step);
        __stcs(out + index, a);
        __stcs(out + index + step, b);
        __stcs(out + index + 2 * step, c);
        __stcs(out + index + 3 * step, d);
    }
    for (; index < count; index += step) {
        __stcs(out + index, __ldcs(in + index));
    }
}

// Products of 16x16 and 16x8 bf16 tiles that stay in registers: four independent chains a warp, 16,384 operations a round and warp.
extern "C" __global__ void kit_multiply(u64 address, u64 rounds) {
#if __CUDA_ARCH__ >= 800
    const u32 seed = (u32)mix(first(), 1);
    const u32 a0 = (seed & 0x007f007f) | 0x3f003f00, a1 = a0 ^ 0x00110022, a2 = a0 ^ 0x00330044, a3 = a0 ^ 0x00550066;
    const u32 b0 = (seed >> 7 & 0x007f007f) | 0xbf003f00, b1 = b0 ^ 0x00420024;
    float sums[4][4] = {};
    for (u64 round = 0; round < rounds; round++) {
#pragma unroll
        for (int chain = 0; chain < 4; chain++) {
            asm volatile(
                "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
                : "+f"(sums[chain][0]), "+f"(sums[chain][1]), "+f"(sums[chain][2]), "+f"(sums[chain][3])
                : "r"(a0), "r"(a1), "r"(a2), "r"(a3), "r"(b0), "r"(b1));
        }
    }
    float sum = 0.0f;
    for (int chain = 0; chain < 4; chain++) {
        sum += sums[chain][0] + sums[chain][1] + sums[chain][2] + sums[chain][3];
    }
    ((float*)address)[first()] = sum;
#endif
}
