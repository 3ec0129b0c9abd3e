// The fp64 oracle of gqa_decode_paged_bf16 and its laws. See README.md for the derivation of the scales.
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

namespace {

constexpr int64_t query_heads = 32;
constexpr int64_t kv_heads = 4;
constexpr int64_t group = query_heads / kv_heads;
constexpr int64_t width = 128;
constexpr double log2_e = 1.4426950408889634;
constexpr double ulps_u = 16.0 * 0x1p-24;
constexpr double storage = 0x1p-8;
// Weights rounded to bf16, in units of 16 roundings of f32: 2^-8 / (16 * 2^-24).
constexpr double weight_rounding = 4096.0;
// Results below this size may be flushed to zero.
constexpr double negligible = 0x1p-100;
// A law looks at so many heads of the whole batch.
constexpr int64_t heads_looked_at = 48;

// A bf16 word is the upper half of a float.
double widen(uint16_t word) {
    const uint32_t bits = static_cast<uint32_t>(word) << 16;
    float value = 0.0F;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

struct Cache {
    const uint16_t* k;
    const uint16_t* v;
    const int32_t* indptr;
    const int32_t* indices;
};

// Scores in base 2 of one head over the tokens of its row.
struct Scores {
    std::vector<double> score;
    double top = -std::numeric_limits<double>::infinity();
    // The largest sum of magnitudes that a score was made from.
    double magnitude = 0.0;
    double sum = 0.0;
    double lse = -std::numeric_limits<double>::infinity();
    // What the roundings of scores and sum cost a weight, in units of 16.
    double growth = 1.0;
};

const uint16_t* token(const uint16_t* cache, const Cache& from, int64_t at, int64_t head) {
    return cache + (static_cast<int64_t>(from.indices[at]) * kv_heads + head / group) * width;
}

Scores scores_of(const uint16_t* q, const Cache& cache, int64_t row, int64_t head, double sm_scale) {
    Scores scores;
    const uint16_t* query = q + (row * query_heads + head) * width;
    for (int64_t at = cache.indptr[row]; at < cache.indptr[row + 1]; ++at) {
        const uint16_t* key = token(cache.k, cache, at, head);
        double dot = 0.0;
        double magnitude = 0.0;
        for (int64_t e = 0; e < width; ++e) {
            const double product = widen(query[e]) * widen(key[e]);
            dot += product;
            magnitude += std::fabs(product);
        }
        scores.score.push_back(dot * sm_scale * log2_e);
        scores.top = std::fmax(scores.top, scores.score.back());
        scores.magnitude = std::fmax(scores.magnitude, magnitude * sm_scale * log2_e);
    }
    for (const double score : scores.score) {
        scores.sum += std::exp2(score - scores.top);
    }
    if (!scores.score.empty()) {
        scores.lse = scores.top + std::log2(scores.sum);
        scores.growth = 2.0 + scores.magnitude + static_cast<double>(scores.score.size()) / 16.0;
    }
    return scores;
}

double sign(int64_t index) {
    uint64_t word = static_cast<uint64_t>(index) * 0x9E3779B97F4A7C15ULL + 0xD1B54A32D192ED03ULL;
    word ^= word >> 29;
    word *= 0xBF58476D1CE4E5B9ULL;
    word ^= word >> 32;
    return (word & 1) != 0 ? 1.0 : -1.0;
}

// Heads of the batch at even distances, the last one included.
int64_t looked_at(int64_t batch, int64_t which) {
    const int64_t heads = batch * query_heads;
    return heads <= heads_looked_at ? which : which * (heads - 1) / (heads_looked_at - 1);
}

int64_t count_looked_at(int64_t batch) {
    return batch * query_heads < heads_looked_at ? batch * query_heads : heads_looked_at;
}

}  // namespace

extern "C" void reference(const uint16_t* q, const uint16_t* k, const uint16_t* v, const int32_t* kv_indptr,
                          const int32_t* kv_indices, double* o, double* o_scale, double* lse, double* lse_scale,
                          int64_t batch, int64_t tokens, int64_t pages, double sm_scale, int64_t begin, int64_t end) {
    (void)batch;
    (void)tokens;
    (void)pages;
    const Cache cache = {k, v, kv_indptr, kv_indices};
    for (int64_t row = begin; row < end; ++row) {
        for (int64_t head = 0; head < query_heads; ++head) {
            const int64_t index = (row - begin) * query_heads + head;
            const Scores scores = scores_of(q, cache, row, head, sm_scale);
            lse[index] = scores.lse;
            lse_scale[index] = scores.score.empty() ? 0.0 : scores.growth + std::fabs(scores.lse) / 8.0;
            double* sums = o + index * width;
            double* scales = o_scale + index * width;
            for (int64_t e = 0; e < width; ++e) {
                sums[e] = 0.0;
                scales[e] = 0.0;
            }
            for (size_t t = 0; t < scores.score.size(); ++t) {
                const double weight = std::exp2(scores.score[t] - scores.lse);
                const uint16_t* value = token(v, cache, kv_indptr[row] + static_cast<int64_t>(t), head);
                for (int64_t e = 0; e < width; ++e) {
                    sums[e] += weight * widen(value[e]);
                    scales[e] += weight * std::fabs(widen(value[e]));
                }
            }
            for (int64_t e = 0; e < width; ++e) {
                scales[e] = scales[e] * (scores.growth + weight_rounding) + negligible;
            }
        }
    }
}

// The elements of o, summed with a sequence of signs, are the weighted mean of the same sums over the values.
extern "C" double projections(const uint16_t* q, const uint16_t* k, const uint16_t* v, const int32_t* kv_indptr,
                              const int32_t* kv_indices, const uint16_t* o, const float* lse, int64_t batch,
                              int64_t tokens, int64_t pages, double sm_scale) {
    (void)lse;
    (void)tokens;
    (void)pages;
    const Cache cache = {k, v, kv_indptr, kv_indices};
    double worst = 0.0;
    for (int64_t which = 0; which < count_looked_at(batch); ++which) {
        const int64_t index = looked_at(batch, which);
        const int64_t row = index / query_heads;
        const Scores scores = scores_of(q, cache, row, index % query_heads, sm_scale);
        double expected = 0.0;
        double magnitude = 0.0;
        for (size_t t = 0; t < scores.score.size(); ++t) {
            const uint16_t* value = token(v, cache, kv_indptr[row] + static_cast<int64_t>(t), index % query_heads);
            const double weight = std::exp2(scores.score[t] - scores.lse);
            for (int64_t e = 0; e < width; ++e) {
                expected += weight * sign(e) * widen(value[e]);
                magnitude += weight * std::fabs(widen(value[e]));
            }
        }
        double got = 0.0;
        double rounded = 0.0;
        for (int64_t e = 0; e < width; ++e) {
            got += sign(e) * widen(o[index * width + e]);
            rounded += std::fabs(widen(o[index * width + e]));
        }
        const double allowed = ulps_u * (magnitude * (scores.growth + weight_rounding) + width * negligible) +
                               storage * (1.0 + storage) * rounded;
        // Without tokens only zeros will do.
        const double violation = scores.score.empty() ? (rounded == 0.0 ? 0.0 : 2.0) : std::fabs(got - expected) / allowed;
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}

// Relative to 2^lse the weights of a row sum to one.
extern "C" double mass(const uint16_t* q, const uint16_t* k, const uint16_t* v, const int32_t* kv_indptr,
                       const int32_t* kv_indices, const uint16_t* o, const float* lse, int64_t batch, int64_t tokens,
                       int64_t pages, double sm_scale) {
    (void)o;
    (void)tokens;
    (void)pages;
    const Cache cache = {k, v, kv_indptr, kv_indices};
    double worst = 0.0;
    for (int64_t which = 0; which < count_looked_at(batch); ++which) {
        const int64_t index = looked_at(batch, which);
        const Scores scores = scores_of(q, cache, index / query_heads, index % query_heads, sm_scale);
        const double got = lse[index];
        if (scores.score.empty()) {
            worst = std::fmax(worst, std::isinf(got) && got < 0.0 ? 0.0 : 2.0);
            continue;
        }
        double sum = 0.0;
        for (const double score : scores.score) {
            sum += std::exp2(score - got);
        }
        // An error of lse is an error of the logarithm of the mass.
        const double violation = std::fabs(std::log2(sum)) / (ulps_u * (scores.growth + std::fabs(got) / 8.0));
        if (std::isnan(violation)) {
            return violation;
        }
        worst = std::fmax(worst, violation);
    }
    return worst;
}
