// cpu-elementwise/silu_mul for silu_mul_f32: SiLU times up, by hand
// genome: prefetch=2 serial_kib=512 store=stream task_kib=16 threads=1 unroll=1 vector=avx512

#include <immintrin.h>
#include <cstdint>
#include <cstring>
namespace {

using Vec = __m512;
constexpr int64_t W = 16;
inline Vec v_zero() { return _mm512_setzero_ps(); }
inline Vec v_set(float a) { return _mm512_set1_ps(a); }
inline Vec v_load(const float* p) { return _mm512_loadu_ps(p); }
inline void v_store(float* p, Vec a) { _mm512_storeu_ps(p, a); }
inline void v_stream(float* p, Vec a) { _mm512_stream_ps(p, a); }
inline Vec v_add(Vec a, Vec b) { return _mm512_add_ps(a, b); }
inline Vec v_sub(Vec a, Vec b) { return _mm512_sub_ps(a, b); }
inline Vec v_mul(Vec a, Vec b) { return _mm512_mul_ps(a, b); }
inline Vec v_div(Vec a, Vec b) { return _mm512_div_ps(a, b); }
inline Vec v_fma(Vec a, Vec b, Vec c) { return _mm512_fmadd_ps(a, b, c); }
inline Vec v_max(Vec a, Vec b) { return _mm512_max_ps(a, b); }
inline Vec v_min(Vec a, Vec b) { return _mm512_min_ps(a, b); }
// Lanes beyond `n` (1 to W) are neither read nor written; on loading they are zero, or `fill`.
inline __mmask16 v_mask(int64_t n) { return static_cast<__mmask16>((1u << n) - 1u); }
inline Vec v_load_tail(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(v_mask(n), p); }
inline Vec v_load_tail(const float* p, int64_t n, Vec fill) { return _mm512_mask_loadu_ps(fill, v_mask(n), p); }
inline void v_store_tail(float* p, Vec a, int64_t n) { _mm512_mask_storeu_ps(p, v_mask(n), a); }
inline Vec v_keep(Vec a, int64_t n) { return _mm512_maskz_mov_ps(v_mask(n), a); }
inline float v_sum(Vec a) { return _mm512_reduce_add_ps(a); }
inline float v_hmax(Vec a) { return _mm512_reduce_max_ps(a); }

}  // namespace

namespace {
constexpr int kThreads = 1;
}  // namespace

#include <cstdint>
namespace {
template <class Body>
void parallel_phases(int64_t first, int64_t second, Body&& body) {
    for (int64_t task = 0; task < first; ++task) body(0, task);
    for (int64_t task = 0; task < second; ++task) body(1, task);
}
template <class Body>
void parallel(int64_t tasks, Body&& body) {
    for (int64_t task = 0; task < tasks; ++task) body(task);
}
}  // namespace

namespace {
constexpr int64_t kTaskBytes = int64_t{16} * 1024;
// Below this much traffic, waking a thread costs more than it brings.
constexpr int64_t kSerialBytes = int64_t{512} * 1024;
template <class Body>
void parallel_rows(int64_t rows, int64_t row_bytes, Body&& body) {
    if (rows <= 0) return;
    if (kThreads == 1 || rows * row_bytes <= kSerialBytes) {
        body(int64_t{0}, rows);
        return;
    }
    int64_t step = kTaskBytes / (row_bytes > 0 ? row_bytes : 1);
    // Every thread gets several tasks, so that one that wakes late leaves some of its share to the others.
    const int64_t fair = (rows + 4 * kThreads - 1) / (4 * kThreads);
    step = step > fair ? fair : step;
    step = step < 1 ? 1 : step;
    parallel((rows + step - 1) / step, [&](int64_t task) {
        const int64_t begin = task * step;
        body(begin, begin + step < rows ? begin + step : rows);
    });
}
}  // namespace

namespace {
// x = n ln2 + r with |r| <= ln2 / 2, and e^r = 1 + r + r^2 P(r); P is our own minimax fit of degree 4 (error 3e-9).
inline Vec v_exp(Vec x) {
    // Below -105 the result rounds to zero, above 89 to infinity. In this operand order a NaN passes through.
    x = v_min(v_set(89.0f), v_max(v_set(-105.0f), x));

    const Vec n = _mm512_roundscale_ps(v_mul(x, v_set(1.44269504f)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    Vec r = _mm512_fnmadd_ps(n, v_set(0.693145752f), x);
    r = _mm512_fnmadd_ps(n, v_set(1.42860677e-6f), r);

    Vec p = v_fma(v_set(0.0013814589f), r, v_set(0.0083687128f));
    p = v_fma(p, r, v_set(0.041668389f));
    p = v_fma(p, r, v_set(0.16666521f));
    p = v_fma(p, r, v_set(0.49999994f));
    p = v_fma(v_mul(r, r), p, r);
    p = v_add(p, v_set(1.0f));

    return _mm512_scalef_ps(p, n);

}
}  // namespace

namespace {
constexpr int64_t kUnroll = 1;
constexpr int64_t kPiece = 1024;
constexpr bool kStream = true;

inline Vec silu_mul(Vec gate, Vec up) {
    const Vec denominator = v_add(v_set(1.0f), v_exp(v_sub(v_zero(), gate)));
    return v_mul(v_div(gate, denominator), up);
}

inline void stretch(const float* gate, const float* up, float* y, int64_t count) {
    int64_t i = 0;
    for (; i + kUnroll * W <= count; i += kUnroll * W) {

        for (int64_t line = 0; line < kUnroll * W; line += 16) {
            _mm_prefetch(reinterpret_cast<const char*>(gate + i + line + 2 * 256), _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char*>(up + i + line + 2 * 256), _MM_HINT_T0);
        }

        Vec value[kUnroll];
        for (int64_t u = 0; u < kUnroll; ++u) value[u] = silu_mul(v_load(gate + i + u * W), v_load(up + i + u * W));
        for (int64_t u = 0; u < kUnroll; ++u) {
            if constexpr (kStream) v_stream(y + i + u * W, value[u]);
            else v_store(y + i + u * W, value[u]);
        }
    }
    for (; i < count; i += W) {
        const int64_t n = count - i < W ? count - i : W;
        v_store_tail(y + i, silu_mul(v_load_tail(gate + i, n), v_load_tail(up + i, n)), n);
    }
}
}  // namespace

extern "C" void kernel(const float* __restrict__ gate, const float* __restrict__ up, float* __restrict__ y,
                       int64_t rows, int64_t cols) {
    const int64_t total = rows * cols;
    // Pieces of a fixed size, whatever the shape: every one begins aligned.
    parallel_rows((total + kPiece - 1) / kPiece, kPiece * 12, [&](int64_t begin, int64_t end) {
        const int64_t first = begin * kPiece;
        const int64_t last = end * kPiece < total ? end * kPiece : total;
        stretch(gate + first, up + first, y + first, last - first);
        _mm_sfence();
    });
}
