// cpu-elementwise/silu_mul for silu_mul_f32: SiLU times up, by hand
// genome: prefetch=4 serial_kib=64 store=stream task_kib=512 threads=2 unroll=2 vector=avx512

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
constexpr int kThreads = 2;
}  // namespace

#include <atomic>
#include <cstdint>
#include <pthread.h>
#include <sched.h>
#include <type_traits>
namespace {
using PoolBody = void (*)(void* context, int phase, int64_t task);
constexpr int kPhases = 2;
struct Pool {
    pthread_mutex_t mutex;
    pthread_cond_t wake;
    pthread_cond_t done;
    PoolBody body;
    void* context;
    int64_t tasks[kPhases];
    uint64_t call;
    bool open;
    bool started;
    std::atomic<int> active;
};
Pool pool = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, nullptr, nullptr, {0, 0},
             0, false, false, {0}};
// One cursor a thread, each over its own contiguous share of the tasks, each on its own cache line.
struct alignas(64) PoolCount {
    std::atomic<int64_t> value;
};
PoolCount pool_cursors[kPhases][kThreads];
PoolCount pool_finished[kPhases];

inline void pool_pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

inline int64_t pool_share(int64_t tasks, int part) { return tasks * part / kThreads; }

// Works through the own share front to back, so that every thread reads one long stream, then helps the others. A phase
// begins when all tasks of the one before it have ended.
inline void pool_take(PoolBody body, void* context, const int64_t* tasks, int self) {
    for (int phase = 0; phase < kPhases; ++phase) {
        int64_t ended = 0;
        for (int i = 0; i < kThreads; ++i) {
            const int part = (self + i) % kThreads;
            const int64_t end = pool_share(tasks[phase], part + 1);
            for (;;) {
                const int64_t task = pool_cursors[phase][part].value.fetch_add(1, std::memory_order_relaxed);
                if (task >= end) break;
                body(context, phase, task);
                ++ended;
            }
        }
        if (phase + 1 == kPhases || tasks[phase + 1] == 0) return;
        pool_finished[phase].value.fetch_add(ended, std::memory_order_acq_rel);
        for (int64_t spin = 0; pool_finished[phase].value.load(std::memory_order_acquire) < tasks[phase]; ++spin) {
            // On a busy machine the thread that is waited for may need this core.
            if (spin < 20000) pool_pause();
            else sched_yield();
        }
    }
}

// A worker takes part in a call only while the call is open; one that wakes too late parks again.
void* pool_main(void* argument) {
    const int self = static_cast<int>(reinterpret_cast<intptr_t>(argument));
    uint64_t seen = 0;
    pthread_mutex_lock(&pool.mutex);
    for (;;) {
        while (!pool.open || pool.call == seen) pthread_cond_wait(&pool.wake, &pool.mutex);
        seen = pool.call;
        const PoolBody body = pool.body;
        void* const context = pool.context;
        int64_t tasks[kPhases];
        for (int phase = 0; phase < kPhases; ++phase) tasks[phase] = pool.tasks[phase];
        pool.active.fetch_add(1, std::memory_order_relaxed);
        pthread_mutex_unlock(&pool.mutex);
        pool_take(body, context, tasks, self);
        pthread_mutex_lock(&pool.mutex);
        if (pool.active.fetch_sub(1, std::memory_order_release) == 1) pthread_cond_signal(&pool.done);
    }
    return nullptr;
}

void pool_start() {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 512 * 1024);
    for (int i = 1; i < kThreads; ++i) {
        pthread_t thread;
        // Where no thread can be made, the caller does all the work.
        if (pthread_create(&thread, &attributes, pool_main, reinterpret_cast<void*>(intptr_t{i})) == 0) pthread_detach(thread);
    }
    pthread_attr_destroy(&attributes);
    pool.started = true;
}

// Runs body(0, …) for the tasks of the first phase, then body(1, …) for those of the second; the caller works too, so a
// worker that wakes late costs no more than its share.
template <class Body>
void parallel_phases(int64_t first, int64_t second, Body&& body) {
    if (first <= 1 && second <= 1) {
        if (first > 0) body(0, int64_t{0});
        if (second > 0) body(1, int64_t{0});
        return;
    }
    if (!pool.started) pool_start();
    using Plain = std::remove_reference_t<Body>;
    const PoolBody call = [](void* context, int phase, int64_t task) { (*static_cast<Plain*>(context))(phase, task); };
    void* const context = const_cast<void*>(static_cast<const void*>(&body));
    const int64_t tasks[kPhases] = {first, second};
    pthread_mutex_lock(&pool.mutex);
    pool.body = call;
    pool.context = context;
    for (int phase = 0; phase < kPhases; ++phase) {
        pool.tasks[phase] = tasks[phase];
        pool_finished[phase].value.store(0, std::memory_order_relaxed);
        for (int i = 0; i < kThreads; ++i) {
            pool_cursors[phase][i].value.store(pool_share(tasks[phase], i), std::memory_order_relaxed);
        }
    }
    pool.open = true;
    ++pool.call;
    pthread_mutex_unlock(&pool.mutex);

    pthread_cond_signal(&pool.wake);

    pool_take(call, context, tasks, 0);
    // The others are within one task of the end: a short wait by spinning, then sleep.
    for (int spin = 0; spin < 2000 && pool.active.load(std::memory_order_acquire) != 0; ++spin) pool_pause();
    pthread_mutex_lock(&pool.mutex);
    pool.open = false;
    while (pool.active.load(std::memory_order_acquire) != 0) pthread_cond_wait(&pool.done, &pool.mutex);
    pthread_mutex_unlock(&pool.mutex);
}

template <class Body>
void parallel(int64_t tasks, Body&& body) {
    parallel_phases(tasks, 0, [&body](int, int64_t task) { body(task); });
}
}  // namespace

namespace {
constexpr int64_t kTaskBytes = int64_t{512} * 1024;
// Below this much traffic, waking a thread costs more than it brings.
constexpr int64_t kSerialBytes = int64_t{64} * 1024;
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
constexpr int64_t kUnroll = 2;
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
            _mm_prefetch(reinterpret_cast<const char*>(gate + i + line + 4 * 256), _MM_HINT_T0);
            _mm_prefetch(reinterpret_cast<const char*>(up + i + line + 4 * 256), _MM_HINT_T0);
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
