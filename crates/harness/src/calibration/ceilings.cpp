// Trusted kernels that show what the machine can do: copies, and multiply-adds that never leave the registers.
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

// Threads that wait until there is work; the caller takes part 0.
class Crew {
public:
    template <class Work>
    void run(int64_t parts, const Work& work) {
        if (parts <= 1) {
            work(0);
            return;
        }
        grow(parts);
        context_ = &work;
        call_ = [](const void* context, int64_t part) { (*static_cast<const Work*>(context))(part); };
        left_.store(parts - 1, std::memory_order_relaxed);
        {
            const std::lock_guard<std::mutex> lock(mutex_);
            parts_ = parts;
            ++round_;
        }
        wake_.notify_all();
        work(0);
        while (left_.load(std::memory_order_acquire) != 0) {
#if defined(__x86_64__)
            _mm_pause();
#endif
        }
    }

private:
    void grow(int64_t parts) {
        while (static_cast<int64_t>(threads_) < parts - 1) {
            const int64_t part = ++threads_;
            std::thread([this, part] { loop(part); }).detach();
        }
    }

    void loop(int64_t part) {
        uint64_t seen = 0;
        for (;;) {
            {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [&] { return round_ != seen && part < parts_; });
                seen = round_;
            }
            call_(context_, part);
            left_.fetch_sub(1, std::memory_order_release);
        }
    }

    std::mutex mutex_;
    std::condition_variable wake_;
    std::atomic<int64_t> left_{0};
    int64_t parts_ = 0;
    uint64_t round_ = 0;
    int64_t threads_ = 0;
    const void* context_ = nullptr;
    void (*call_)(const void*, int64_t) = nullptr;
};

Crew& crew() {
    static Crew* const made = new Crew;
    return *made;
}

// The share of a part in whole cache lines.
struct Share {
    int64_t begin;
    int64_t end;
};

Share share(int64_t bytes, int64_t parts, int64_t part) {
    const int64_t lines = bytes / 64;
    const int64_t begin = lines * part / parts * 64;
    const int64_t end = part + 1 == parts ? bytes : lines * (part + 1) / parts * 64;
    return {begin, end};
}

#if defined(__AVX512F__)
void stream(const char* from, char* to, int64_t bytes) {
    int64_t i = 0;
    for (; i + 256 <= bytes; i += 256) {
        for (int64_t j = 0; j < 256; j += 64) {
            _mm512_stream_si512(reinterpret_cast<__m512i*>(to + i + j), _mm512_loadu_si512(from + i + j));
        }
    }
    std::memcpy(to + i, from + i, static_cast<size_t>(bytes - i));
    _mm_sfence();
}

void plain(const char* from, char* to, int64_t bytes) {
    int64_t i = 0;
    for (; i + 256 <= bytes; i += 256) {
        for (int64_t j = 0; j < 256; j += 64) {
            _mm512_storeu_si512(to + i + j, _mm512_loadu_si512(from + i + j));
        }
    }
    std::memcpy(to + i, from + i, static_cast<size_t>(bytes - i));
}
#elif defined(__AVX__)
void stream(const char* from, char* to, int64_t bytes) {
    int64_t i = 0;
    for (; i + 128 <= bytes; i += 128) {
        for (int64_t j = 0; j < 128; j += 32) {
            _mm256_stream_si256(reinterpret_cast<__m256i*>(to + i + j),
                                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + j)));
        }
    }
    std::memcpy(to + i, from + i, static_cast<size_t>(bytes - i));
    _mm_sfence();
}

void plain(const char* from, char* to, int64_t bytes) {
    int64_t i = 0;
    for (; i + 128 <= bytes; i += 128) {
        for (int64_t j = 0; j < 128; j += 32) {
            _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i + j),
                                _mm256_loadu_si256(reinterpret_cast<const __m256i*>(from + i + j)));
        }
    }
    std::memcpy(to + i, from + i, static_cast<size_t>(bytes - i));
}
#else
void stream(const char* from, char* to, int64_t bytes) { std::memcpy(to, from, static_cast<size_t>(bytes)); }
void plain(const char* from, char* to, int64_t bytes) { std::memmove(to, from, static_cast<size_t>(bytes)); }
#endif

#if defined(__AVX512F__)
constexpr int lanes = 16;
constexpr int chains = 20;
#elif defined(__AVX__)
constexpr int lanes = 8;
constexpr int chains = 12;
#else
constexpr int lanes = 4;
constexpr int chains = 16;
#endif
typedef float Vector __attribute__((vector_size(lanes * 4)));

float multiply_add(int64_t rounds) {
    Vector sums[chains];
#pragma GCC unroll 32
    for (int i = 0; i < chains; ++i) {
        sums[i] = Vector{} + static_cast<float>(i);
    }
    Vector factor = Vector{} + 0.999F;
    Vector term = Vector{} + 0.001F;
    for (int64_t round = 0; round < rounds; ++round) {
        // Not unrolled, the sums would live on the stack, and the ceiling would be that of its loads and stores.
#pragma GCC unroll 32
        for (int i = 0; i < chains; ++i) {
            sums[i] = sums[i] * factor + term;
        }
#if defined(__x86_64__)
        asm volatile("" : "+x"(factor), "+x"(term));
#endif
    }
    Vector all = sums[0];
#pragma GCC unroll 32
    for (int i = 1; i < chains; ++i) {
        all = all + sums[i];
    }
    return all[0];
}

}  // namespace

extern "C" void copy_plain(const char* from, char* to, int64_t bytes, int64_t threads) {
    crew().run(threads, [=](int64_t part) {
        const Share mine = share(bytes, threads, part);
        plain(from + mine.begin, to + mine.begin, mine.end - mine.begin);
    });
}

extern "C" void copy_stream(const char* from, char* to, int64_t bytes, int64_t threads) {
    crew().run(threads, [=](int64_t part) {
        const Share mine = share(bytes, threads, part);
        stream(from + mine.begin, to + mine.begin, mine.end - mine.begin);
    });
}

extern "C" void copy_library(const char* from, char* to, int64_t bytes, int64_t threads) {
    crew().run(threads, [=](int64_t part) {
        const Share mine = share(bytes, threads, part);
        std::memcpy(to + mine.begin, from + mine.begin, static_cast<size_t>(mine.end - mine.begin));
    });
}

// Operations of one round of multiply_adds on one thread.
extern "C" double operations_of_a_round() { return static_cast<double>(lanes) * chains * 2; }

// The sums are written so that no compiler drops them.
extern "C" void multiply_adds(const float* from, float* to, int64_t rounds, int64_t threads) {
    (void)from;
    std::vector<float> results(static_cast<size_t>(threads), 0.0F);
    crew().run(threads, [&](int64_t part) { results[static_cast<size_t>(part)] = multiply_add(rounds); });
    float sum = 0.0F;
    for (const float result : results) {
        sum += result;
    }
    to[0] = sum;
}
